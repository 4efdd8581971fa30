import java.nio.ByteBuffer;
import org.postgresql.util.PGBinaryObject;

/** A value that the driver sends and receives in the binary form. */
public final class BinaryValue extends TextValue implements PGBinaryObject {
    private static final long serialVersionUID = 1;

    public BinaryValue() {}

    BinaryValue(Type type, double[] numbers) {
        super(type, numbers);
    }

    @Override
    public void setByteValue(byte[] bytes, int offset) {
        binaries++;
        numbers = type().numbers(ByteBuffer.wrap(bytes, offset, bytes.length - offset).slice());
    }

    @Override
    public int lengthInBytes() {
        return numbers == null ? 0 : type().bytes(numbers).length;
    }

    @Override
    public void toBytes(byte[] target, int offset) {
        binaries++;
        byte[] bytes = type().bytes(numbers);
        System.arraycopy(bytes, 0, target, offset, bytes.length);
    }
}
