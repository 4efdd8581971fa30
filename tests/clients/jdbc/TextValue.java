import java.util.Locale;
import org.postgresql.util.PGobject;

/** A value that the driver sends and receives as text. */
public class TextValue extends PGobject {
    private static final long serialVersionUID = 1;

    /** How many values went through the driver as text, and as bytes. */
    static int texts;
    static int binaries;

    transient double[] numbers;

    /** For the driver, which sets type and value. */
    public TextValue() {}

    TextValue(Type type, double[] numbers) {
        setType(type.sql);
        this.numbers = numbers;
    }

    Type type() {
        return Type.valueOf(getType().toUpperCase(Locale.ROOT));
    }

    @Override
    public void setValue(String text) {
        texts++;
        numbers = text == null ? null : type().numbers(text);
    }

    @Override
    public String getValue() {
        texts++;
        return numbers == null ? null : type().text(numbers);
    }

    @Override
    public boolean isNull() {
        return numbers == null;
    }
}
