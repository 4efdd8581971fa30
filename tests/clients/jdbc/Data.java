import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.DoubleBinaryOperator;
import java.util.function.ToDoubleBiFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** A row: its id, and its numbers and bits, which the types hold exactly. */
record Row(int id, double[] numbers, double[] bits) {
    double[] of(Type type) {
        return type == Type.BIT ? bits : numbers;
    }
}

/** A row that a search found, at its distance. */
record Found(int id, double distance) {}

/** A distance, as the server names it and as it is computed here. */
enum Distance {
    L2("<->", (a, b) -> Math.sqrt(Distance.sum(a, b, (x, y) -> (x - y) * (x - y)))),
    IP("<#>", (a, b) -> -Distance.dot(a, b)),
    COSINE("<=>", (a, b) -> 1 - Distance.dot(a, b) / Math.sqrt(Distance.dot(a, a) * Distance.dot(b, b))),
    L1("<+>", (a, b) -> Distance.sum(a, b, (x, y) -> Math.abs(x - y))),
    HAMMING("<~>", (a, b) -> Distance.sum(a, b, (x, y) -> Math.abs(x - y))),
    JACCARD("<%>", (a, b) -> 1 - Distance.dot(a, b) / Distance.sum(a, b, Math::max));

    final String operator;
    final ToDoubleBiFunction<double[], double[]> exact;

    Distance(String operator, ToDoubleBiFunction<double[], double[]> exact) {
        this.operator = operator;
        this.exact = exact;
    }

    private static double dot(double[] a, double[] b) {
        return sum(a, b, (x, y) -> x * y);
    }

    private static double sum(double[] a, double[] b, DoubleBinaryOperator of) {
        return IntStream.range(0, a.length).mapToDouble(i -> of.applyAsDouble(a[i], b[i])).sum();
    }
}

/** A search for the rows that are nearest to a value, and its exact answer. */
record Search(Type type, Distance distance, double[] query) {
    Search(Type type, Distance distance) {
        this(type, distance, Data.QUERY.of(type));
    }

    /** The operator class, which is its index' name too. */
    String operatorClass() {
        return type.sql + "_" + distance.name().toLowerCase() + "_ops";
    }

    String createIndex() {
        return "CREATE INDEX %1$s ON items USING hnsw (%2$s %1$s) WITH (m = 16, ef_construction = 64)"
            .formatted(operatorClass(), type.sql);
    }

    /** Ids and distances in order, with the parameter twice, of which each may have a cast. */
    String statement(String parameter) {
        return "SELECT id, %1$s %2$s %3$s FROM items ORDER BY %1$s %2$s %3$s"
            .formatted(type.sql, distance.operator, parameter);
    }

    String nearest(String parameter) {
        return statement(parameter) + " LIMIT " + Data.NEAREST;
    }

    /** As many rows as expected were found, the nearest ones, in order and at their distances. */
    void checkAnswer(List<Found> found, int count) {
        double[] exact = Data.ROWS.stream().mapToDouble(this::distanceOf).toArray();
        double[] sorted = DoubleStream.of(exact).sorted().toArray();
        Data.check(found.size() == count, "%s: %d rows, not %d".formatted(this, found.size(), count));
        Set<Integer> ids = new HashSet<>();
        for (int i = 0; i < found.size(); i++) {
            Found row = found.get(i);
            Data.check(ids.add(row.id()), "%s: row %d is there twice".formatted(this, row.id()));
            Data.checkClose(row.distance(), exact[row.id() - 1], "%s: row %d".formatted(this, row.id()));
            Data.checkClose(row.distance(), sorted[i], "%s: place %d".formatted(this, i));
        }
    }

    private double distanceOf(Row row) {
        return distance.exact.applyAsDouble(row.of(type), query);
    }

    @Override
    public String toString() {
        return operatorClass();
    }
}

/** The rows that are stored, which are few enough for an index to answer exactly. */
final class Data {
    static final int COUNT = 300;
    static final int DIMENSIONS = 8;
    static final int BITS = 64;
    static final int NEAREST = 10;

    private static final Random RANDOM = new Random(11);
    static final List<Row> ROWS = IntStream.rangeClosed(1, COUNT).mapToObj(Data::row).toList();
    static final Row QUERY = row(0);
    static final List<Row> QUERIES = IntStream.range(0, 20).mapToObj(Data::row).toList();

    static final List<Search> SEARCHES = Stream.of(Type.values()).flatMap(Data::searches).toList();

    private Data() {}

    private static Stream<Search> searches(Type type) {
        List<Distance> distances = type == Type.BIT
            ? List.of(Distance.HAMMING, Distance.JACCARD)
            : List.of(Distance.L2, Distance.IP, Distance.COSINE, Distance.L1);
        return distances.stream().map(distance -> new Search(type, distance));
    }

    /** About half of the numbers are zero, but never all. */
    private static Row row(int id) {
        double[] numbers = new double[DIMENSIONS];
        Arrays.setAll(numbers, i -> RANDOM.nextBoolean() ? (RANDOM.nextInt(512) - 256) / 64.0 : 0);
        numbers[0] = 1 + Math.abs(numbers[0]);
        double[] bits = new double[BITS];
        Arrays.setAll(bits, i -> RANDOM.nextInt(2));
        return new Row(id, numbers, bits);
    }

    static void check(boolean holds, String message) {
        if (!holds) {
            throw new AssertionError(message);
        }
    }

    static void checkEqual(Object found, Object expected, String message) {
        check(expected.equals(found), "%s: %s, not %s".formatted(message, found, expected));
    }

    static void checkNumbers(double[] found, double[] expected, String message) {
        check(Arrays.equals(found, expected),
            "%s: %s, not %s".formatted(message, Arrays.toString(found), Arrays.toString(expected)));
    }

    static void checkClose(double found, double expected, String message) {
        check(Math.abs(found - expected) < 1e-5, "%s: %s, not %s".formatted(message, found, expected));
    }
}
