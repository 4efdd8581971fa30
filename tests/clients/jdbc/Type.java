import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.IntToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** A type of the server: the text and the binary form of its values, which are numbers here. */
enum Type {
    VECTOR(Data.DIMENSIONS) {
        @Override
        byte[] bytes(double[] numbers) {
            ByteBuffer buffer = header(numbers.length, 4);
            Arrays.stream(numbers).forEach(number -> buffer.putFloat((float) number));
            return buffer.array();
        }

        @Override
        double[] numbers(ByteBuffer bytes) {
            return elements(bytes, i -> bytes.getFloat());
        }
    },
    HALFVEC(Data.DIMENSIONS) {
        @Override
        byte[] bytes(double[] numbers) {
            ByteBuffer buffer = header(numbers.length, 2);
            Arrays.stream(numbers).forEach(number -> buffer.putShort(half((float) number)));
            return buffer.array();
        }

        @Override
        double[] numbers(ByteBuffer bytes) {
            return elements(bytes, i -> single(bytes.getShort()));
        }
    },
    SPARSEVEC(Data.DIMENSIONS) {
        @Override
        String text(double[] numbers) {
            return Arrays.stream(places(numbers)).mapToObj(i -> i + 1 + ":" + print(numbers[i]))
                .collect(Collectors.joining(",", "{", "}/" + numbers.length));
        }

        @Override
        double[] numbers(String text) {
            String[] parts = text.substring(1).split("}/");
            double[] numbers = new double[Integer.parseInt(parts[1])];
            for (String element : parts[0].split(",")) {
                String[] pair = element.split(":");
                numbers[Integer.parseInt(pair[0]) - 1] = Double.parseDouble(pair[1]);
            }
            return numbers;
        }

        @Override
        byte[] bytes(double[] numbers) {
            int[] places = places(numbers);
            ByteBuffer buffer = ByteBuffer.allocate(12 + 8 * places.length);
            buffer.putInt(numbers.length).putInt(places.length).putInt(0);
            Arrays.stream(places).forEach(buffer::putInt);
            Arrays.stream(places).forEach(i -> buffer.putFloat((float) numbers[i]));
            return buffer.array();
        }

        @Override
        double[] numbers(ByteBuffer bytes) {
            double[] numbers = new double[bytes.getInt()];
            int[] places = new int[bytes.getInt()];
            Data.check(bytes.getInt() == 0, "reserved bytes are zero");
            Arrays.setAll(places, i -> bytes.getInt());
            Arrays.stream(places).forEach(i -> numbers[i] = bytes.getFloat());
            return numbers;
        }

        private int[] places(double[] numbers) {
            return IntStream.range(0, numbers.length).filter(i -> numbers[i] != 0).toArray();
        }
    },
    BIT(Data.BITS) {
        @Override
        String text(double[] numbers) {
            return Arrays.stream(numbers).mapToObj(bit -> print(bit)).collect(Collectors.joining());
        }

        @Override
        double[] numbers(String text) {
            return text.chars().mapToDouble(digit -> digit - '0').toArray();
        }

        @Override
        byte[] bytes(double[] numbers) {
            ByteBuffer buffer = ByteBuffer.allocate(4 + (numbers.length + 7) / 8);
            buffer.putInt(numbers.length);
            for (int i = 0; i < numbers.length; i++) {
                int place = 4 + i / 8;
                buffer.put(place, (byte) (buffer.get(place) | (int) numbers[i] << 7 - i % 8));
            }
            return buffer.array();
        }

        @Override
        double[] numbers(ByteBuffer bytes) {
            double[] numbers = new double[bytes.getInt()];
            Arrays.setAll(numbers, i -> bytes.get(4 + i / 8) >> 7 - i % 8 & 1);
            return numbers;
        }
    };

    final String sql = name().toLowerCase(Locale.ROOT);
    final int dimensions;

    Type(int dimensions) {
        this.dimensions = dimensions;
    }

    /** The text that the server prints. */
    String text(double[] numbers) {
        return Arrays.stream(numbers).mapToObj(Type::print).collect(Collectors.joining(",", "[", "]"));
    }

    double[] numbers(String text) {
        String[] parts = text.substring(1, text.length() - 1).split(",");
        return Arrays.stream(parts).mapToDouble(Double::parseDouble).toArray();
    }

    abstract byte[] bytes(double[] numbers);

    abstract double[] numbers(ByteBuffer bytes);

    static String print(double number) {
        return number == Math.rint(number) ? Long.toString((long) number) : Double.toString(number);
    }

    private static ByteBuffer header(int dimensions, int size) {
        return ByteBuffer.allocate(4 + size * dimensions).putShort((short) dimensions).putShort((short) 0);
    }

    private static double[] elements(ByteBuffer bytes, IntToDoubleFunction next) {
        double[] numbers = new double[bytes.getShort()];
        Data.check(bytes.getShort() == 0, "reserved bytes are zero");
        Arrays.setAll(numbers, next);
        return numbers;
    }

    /** A half of zero, or of a number that it holds exactly and that is none of the smallest. */
    private static short half(float number) {
        int bits = Float.floatToIntBits(number);
        int magnitude = number == 0 ? 0 : (bits >> 13 & 0x3ffff) - (127 - 15 << 10);
        return (short) (bits >>> 16 & 0x8000 | magnitude);
    }

    private static float single(short half) {
        int magnitude = half & 0x7fff;
        int bits = magnitude == 0 ? 0 : magnitude + (127 - 15 << 10) << 13;
        return Float.intBitsToFloat((half & 0x8000) << 16 | bits);
    }
}
