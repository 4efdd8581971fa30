import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;

/**
 * JDBC: values as text and in the binary form, batches, COPY, statements that the server keeps,
 * cursors, casts, arrays. The first test that fails ends the program.
 */
public final class Clients {
    private static final String PLACES = "(?, ?, ?, ?, ?)";
    private static int passed;

    private Clients() {}

    public static void main(String[] arguments) throws Exception {
        run("batch", Clients::batch);
        run("values as text", () -> values(false));
        run("values as bytes", () -> values(true));
        run("nulls", Clients::nulls);
        run("COPY as text", Clients::copyText);
        run("COPY as bytes", Clients::copyBinary);
        run("indexes", Clients::indexes);
        run("nearest by text", () -> nearest(false));
        run("nearest by bytes", () -> nearest(true));
        run("generic plan", Clients::genericPlan);
        run("cursors", Clients::cursors);
        run("casts", Clients::casts);
        run("arrays", Clients::arrays);
        run("settings", Clients::settings);
        run("names of types", Clients::names);
        run("errors", Clients::errors);
        System.out.println("jdbc: " + passed + " passed, 0 failed");
    }

    private interface Test {
        void run() throws SQLException, IOException;
    }

    private static void run(String name, Test test) {
        try {
            test.run();
            passed++;
        } catch (SQLException | IOException | RuntimeException | AssertionError error) {
            throw new AssertionError("JDBC: " + name + " failed: " + error.getMessage(), error);
        }
    }

    /** A connection with further properties of the driver, as names and values in turn. */
    private static Connection connect(String... more) throws SQLException {
        String socket = System.getenv("PGHOST") + "/.s.PGSQL." + System.getenv("PGPORT");
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("socketFactory", UnixSockets.class.getName());
        properties.setProperty("socketFactoryArg", socket);
        properties.setProperty("sslmode", "disable");
        for (int i = 0; i < more.length; i += 2) {
            properties.setProperty(more[i], more[i + 1]);
        }
        String database = "jdbc:postgresql://localhost/" + System.getenv("PGDATABASE");
        return register(DriverManager.getConnection(database, properties), TextValue.class);
    }

    /** A connection that takes all values as text, or in the binary form from the first use on. */
    private static Connection connect(boolean binary) throws SQLException {
        return binary ? register(connect("prepareThreshold", "-1"), BinaryValue.class) : connect("binaryTransfer", "false");
    }

    private static Connection register(Connection connection, Class<? extends TextValue> form) throws SQLException {
        for (Type type : Type.values()) {
            connection.unwrap(PGConnection.class).addDataType(type.sql, form);
        }
        return connection;
    }

    private static void execute(Connection connection, String... statements) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String text : statements) {
                statement.execute(text);
            }
        }
    }

    private static TextValue value(Row row, Type type, boolean binary) {
        return binary ? new BinaryValue(type, row.of(type)) : new TextValue(type, row.of(type));
    }

    private static void bind(PreparedStatement insert, Row row, boolean binary) throws SQLException {
        insert.setInt(1, row.id());
        for (Type type : Type.values()) {
            insert.setObject(2 + type.ordinal(), value(row, type, binary));
        }
    }

    /** The table's rows are those of the data, in all columns. */
    private static void checkStored(Connection connection, String table, boolean binary) throws SQLException {
        Class<? extends TextValue> form = binary ? BinaryValue.class : TextValue.class;
        try (PreparedStatement select = connection.prepareStatement("SELECT * FROM " + table + " ORDER BY id");
                ResultSet found = select.executeQuery()) {
            for (Row row : Data.ROWS) {
                Data.check(found.next(), "there is a row " + row.id());
                Data.checkEqual(found.getInt(1), row.id(), "id");
                for (Type type : Type.values()) {
                    TextValue stored = found.getObject(type.sql, form);
                    Data.checkNumbers(stored.numbers, row.of(type), type.sql + " of row " + row.id());
                }
            }
            Data.check(!found.next(), "there are no more rows");
        }
    }

    private static List<Found> find(PreparedStatement select) throws SQLException {
        List<Found> rows = new ArrayList<>();
        try (ResultSet found = select.executeQuery()) {
            while (found.next()) {
                rows.add(new Found(found.getInt(1), found.getDouble(2)));
            }
        }
        return rows;
    }

    private static void bindTwice(PreparedStatement select, Search search, boolean binary) throws SQLException {
        for (int i = 1; i <= 2; i++) {
            Type type = search.type();
            select.setObject(i, binary ? new BinaryValue(type, search.query()) : new TextValue(type, search.query()));
        }
    }

    private static String plan(PreparedStatement explain) throws SQLException {
        List<String> lines = new ArrayList<>();
        try (ResultSet found = explain.executeQuery()) {
            while (found.next()) {
                lines.add(found.getString(1));
            }
        }
        return String.join("\n", lines);
    }

    private static void checkIndexScan(String plan, Search search) {
        Data.check(plan.contains("Index Scan using " + search.operatorClass() + " ") && !plan.contains("Sort"), plan);
    }

    /** The table `items`, filled by a batch that the driver rewrites into statements of many rows. */
    private static void batch() throws SQLException {
        String columns = Arrays.stream(Type.values()).map(type -> "%1$s %1$s(%2$d)".formatted(type.sql, type.dimensions))
            .collect(Collectors.joining(", "));
        try (Connection connection = connect("reWriteBatchedInserts", "true")) {
            execute(connection, "CREATE EXTENSION IF NOT EXISTS pg_alopex",
                "CREATE TABLE items (id int PRIMARY KEY, " + columns + ")");
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items VALUES " + PLACES)) {
                for (Row row : Data.ROWS) {
                    bind(insert, row, false);
                    insert.addBatch();
                }
                int[] counts = insert.executeBatch();
                Data.checkEqual(counts.length, Data.COUNT, "statements of the batch");
                Data.check(IntStream.of(counts).allMatch(count -> count == Statement.SUCCESS_NO_INFO),
                    "the batch was not rewritten: " + Arrays.toString(counts));
            }
            checkStored(connection, "items", false);
        }
    }

    /** Rows there and back, all in one form. */
    private static void values(boolean binary) throws SQLException {
        String table = binary ? "items_binary" : "items_text";
        try (Connection connection = connect(binary)) {
            execute(connection, "CREATE TABLE " + table + " (LIKE items)");
            TextValue.texts = TextValue.binaries = 0;
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + table + " VALUES " + PLACES)) {
                for (Row row : Data.ROWS) {
                    bind(insert, row, binary);
                    insert.addBatch();
                }
                Data.checkEqual(IntStream.of(insert.executeBatch()).sum(), Data.COUNT, "rows of the batch");
            }
            checkStored(connection, table, binary);
            int there = Data.COUNT * Type.values().length;
            Data.check((binary ? TextValue.texts : TextValue.binaries) == 0, "values went in the other form");
            int count = binary ? TextValue.binaries : TextValue.texts;
            Data.check(count >= 2 * there, "%d values went in this form".formatted(count));
            checkSame(connection, table);
        }
    }

    /** The server sees no difference between the table's rows and those of `items`. */
    private static void checkSame(Connection connection, String table) throws SQLException {
        String rows = "SELECT id, vector::text, halfvec::text, sparsevec::text, bit::text FROM ";
        String both = "SELECT count(*) FROM (" + rows + "items INTERSECT " + rows + table + ") AS same";
        try (Statement statement = connection.createStatement(); ResultSet found = statement.executeQuery(both)) {
            found.next();
            Data.checkEqual(found.getInt(1), Data.COUNT, "rows that are the same in " + table);
        }
    }

    private static void nulls() throws SQLException {
        for (boolean binary : new boolean[] {false, true}) {
            try (Connection connection = connect(binary)) {
                connection.setAutoCommit(false);
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items VALUES " + PLACES)) {
                    insert.setInt(1, Data.COUNT + 1);
                    insert.setNull(2, Types.OTHER);
                    insert.setNull(3, Types.OTHER, Type.HALFVEC.sql);
                    insert.setObject(4, null);
                    insert.setObject(5, binary ? new BinaryValue(Type.BIT, null) : new TextValue(Type.BIT, null));
                    Data.checkEqual(insert.executeUpdate(), 1, "rows inserted");
                }
                String select = "SELECT vector, halfvec, sparsevec, bit, vector <-> ? FROM items WHERE id > ?";
                try (PreparedStatement statement = connection.prepareStatement(select)) {
                    statement.setObject(1, value(Data.QUERY, Type.VECTOR, binary));
                    statement.setInt(2, Data.COUNT);
                    try (ResultSet found = statement.executeQuery()) {
                        Data.check(found.next(), "the row is there");
                        for (int i = 1; i <= 5; i++) {
                            Data.check(found.getObject(i) == null && found.wasNull(), "column " + i + " is not null");
                        }
                    }
                }
                connection.rollback();
            }
        }
    }

    /** Lines into the table and out of it. */
    private static void copyText() throws SQLException, IOException {
        String lines = Data.ROWS.stream().map(Clients::line).collect(Collectors.joining());
        try (Connection connection = connect()) {
            execute(connection, "CREATE TABLE items_copied (LIKE items)");
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            long count = copy.copyIn("COPY items_copied FROM STDIN", new StringReader(lines));
            Data.checkEqual(count, (long) Data.COUNT, "rows of COPY");
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT * FROM items_copied ORDER BY id) TO STDOUT", out);
            Data.checkEqual(out.toString(), lines, "lines of COPY");
            checkStored(connection, "items_copied", false);
        }
    }

    private static String line(Row row) {
        return Stream.concat(Stream.of(Integer.toString(row.id())),
            Arrays.stream(Type.values()).map(type -> type.text(row.of(type)))).collect(Collectors.joining("\t", "", "\n"));
    }

    /** Bytes into the table and out of it. */
    private static void copyBinary() throws SQLException, IOException {
        byte[] bytes = copied();
        try (Connection connection = connect()) {
            execute(connection, "TRUNCATE items_copied");
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            long count = copy.copyIn("COPY items_copied FROM STDIN (FORMAT binary)", new ByteArrayInputStream(bytes), 1000);
            Data.checkEqual(count, (long) Data.COUNT, "rows of COPY");
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            copy.copyOut("COPY (SELECT * FROM items_copied ORDER BY id) TO STDOUT (FORMAT binary)", out);
            Data.check(Arrays.equals(out.toByteArray(), bytes), "COPY gives other bytes than it took");
            checkSame(connection, "items_copied");
        }
    }

    /** All rows in the binary format of COPY. */
    private static byte[] copied() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.write("PGCOPY\n\377\r\n\0".getBytes(StandardCharsets.ISO_8859_1));
        out.writeLong(0);
        for (Row row : Data.ROWS) {
            out.writeShort(1 + Type.values().length);
            out.writeInt(4);
            out.writeInt(row.id());
            for (Type type : Type.values()) {
                byte[] value = type.bytes(row.of(type));
                out.writeInt(value.length);
                out.write(value);
            }
        }
        out.writeShort(-1);
        return bytes.toByteArray();
    }

    private static void indexes() throws SQLException {
        try (Connection connection = connect()) {
            for (Search search : Data.SEARCHES) {
                execute(connection, search.createIndex());
            }
        }
    }

    private static void useIndexes(Connection connection) throws SQLException {
        execute(connection, "SET enable_seqscan = off", "SET hnsw.ef_search = 1000");
    }

    private static void nearest(boolean binary) throws SQLException {
        try (Connection connection = connect(binary)) {
            useIndexes(connection);
            for (Search search : Data.SEARCHES) {
                TextValue.texts = TextValue.binaries = 0;
                try (PreparedStatement explain = connection.prepareStatement("EXPLAIN " + search.nearest("?"));
                        PreparedStatement select = connection.prepareStatement(search.nearest("?"))) {
                    bindTwice(explain, search, binary);
                    checkIndexScan(plan(explain), search);
                    bindTwice(select, search, binary);
                    search.checkAnswer(find(select), Data.NEAREST);
                }
                Data.check((binary ? TextValue.texts : TextValue.binaries) == 0, search + ": the form is the other");
            }
        }
    }

    /** One plan of the server for many vectors. */
    private static void genericPlan() throws SQLException {
        for (boolean binary : new boolean[] {false, true}) {
            try (Connection connection = connect(binary)) {
                useIndexes(connection);
                execute(connection, "SET plan_cache_mode = force_generic_plan");
                for (Search search : Data.SEARCHES) {
                    try (PreparedStatement select = connection.prepareStatement(search.nearest("?"))) {
                        select.unwrap(PGStatement.class).setPrepareThreshold(1);
                        for (Row row : Data.QUERIES) {
                            Search other = new Search(search.type(), search.distance(), row.of(search.type()));
                            bindTwice(select, other, binary);
                            other.checkAnswer(find(select), Data.NEAREST);
                        }
                        checkKept(connection, search);
                    }
                }
            }
        }
    }

    /** The server has kept the search's statement, ran its generic plan each time, and that scans the index. */
    private static void checkKept(Connection connection, Search search) throws SQLException {
        String kept = "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = ?";
        String name;
        try (PreparedStatement statement = connection.prepareStatement(kept)) {
            statement.setString(1, search.nearest("?").replaceFirst("\\?", "\\$1").replaceFirst("\\?", "\\$2"));
            try (ResultSet found = statement.executeQuery()) {
                Data.check(found.next(), search + ": the server keeps no statement");
                name = found.getString(1);
                Data.checkEqual(found.getInt(2), Data.QUERIES.size(), search + ": generic plans");
                Data.checkEqual(found.getInt(3), 0, search + ": custom plans");
            }
        }
        String value = "'" + search.type().text(search.query()) + "'";
        String explain = "EXPLAIN EXECUTE \"%s\"(%s, %s)".formatted(name, value, value);
        try (PreparedStatement statement = connection.prepareStatement(explain)) {
            String plan = plan(statement);
            checkIndexScan(plan, search);
            Data.check(plan.contains(" $2"), plan);
        }
    }

    /** Rows of two scans that go on in turns, a few at a time; then a scan that is left in the middle. */
    private static void cursors() throws SQLException {
        Search first = Data.SEARCHES.get(0);
        Search second = new Search(Type.HALFVEC, Distance.COSINE, Data.QUERIES.get(0).numbers());
        try (Connection connection = connect(true)) {
            connection.setAutoCommit(false);
            useIndexes(connection);
            try (PreparedStatement one = connection.prepareStatement(first.statement("?"));
                    PreparedStatement two = connection.prepareStatement(second.statement("?"))) {
                one.setFetchSize(7);
                two.setFetchSize(1);
                bindTwice(one, first, true);
                bindTwice(two, second, true);
                List<List<Found>> rows = List.of(new ArrayList<>(), new ArrayList<>());
                try (ResultSet left = one.executeQuery(); ResultSet right = two.executeQuery()) {
                    checkCursors(connection, 2);
                    while (left.next() && right.next()) {
                        rows.get(0).add(new Found(left.getInt(1), left.getDouble(2)));
                        rows.get(1).add(new Found(right.getInt(1), right.getDouble(2)));
                    }
                }
                first.checkAnswer(rows.get(0), Data.COUNT);
                second.checkAnswer(rows.get(1), Data.COUNT);

                try (ResultSet left = one.executeQuery()) {
                    Data.check(left.next(), "there is a first row");
                }
                checkCursors(connection, 0);
                first.checkAnswer(find(one), Data.COUNT);
                iterate(connection, one);
            }
            connection.commit();
        }
    }

    private static void checkCursors(Connection connection, int count) throws SQLException {
        // The statement that asks has a cursor too, without a name.
        String cursors = "SELECT count(*) FROM pg_cursors WHERE name <> ''";
        try (Statement statement = connection.createStatement(); ResultSet found = statement.executeQuery(cursors)) {
            found.next();
            Data.checkEqual(found.getInt(1), count, "open cursors");
        }
    }

    /** A scan that begins narrow and goes on as rows are fetched: more rows than ef_search, nearest first. */
    private static void iterate(Connection connection, PreparedStatement select) throws SQLException {
        Search search = Data.SEARCHES.get(0);
        execute(connection, "SET LOCAL hnsw.ef_search = 10", "SET LOCAL hnsw.iterative_scan = strict_order");
        List<Found> rows = find(select);
        Data.check(rows.size() >= Data.COUNT / 3, rows.size() + " rows of a scan in strict order");
        Set<Integer> ids = new HashSet<>();
        double last = 0;
        for (Found row : rows) {
            double exact = search.distance().exact.applyAsDouble(Data.ROWS.get(row.id() - 1).numbers(), search.query());
            Data.checkClose(row.distance(), exact, "row " + row.id());
            Data.check(ids.add(row.id()) && row.distance() >= last, "row " + row.id() + " comes late or twice");
            last = row.distance();
        }
    }

    /** Vectors as strings and arrays, with the casts of frameworks that know no type for them. */
    private static void casts() throws SQLException {
        Search search = Data.SEARCHES.get(0);
        String text = search.type().text(search.query());
        Float[] floats = DoubleStream.of(search.query()).mapToObj(number -> (float) number).toArray(Float[]::new);
        try (Connection connection = connect(); Connection unspecified = connect("stringtype", "unspecified")) {
            useIndexes(connection);
            useIndexes(unspecified);
            Array array = connection.createArrayOf("float4", floats);
            findCast(connection, search, "?::vector", text, Types.VARCHAR);
            findCast(connection, search, "CAST(? AS vector)", text, Types.VARCHAR);
            findCast(connection, search, "?", text, Types.OTHER);
            findCast(connection, search, "?::vector", array, Types.ARRAY);
            findCast(connection, search, "?::real[]::vector", array, Types.ARRAY);
            findCast(unspecified, search, "?", text, Types.VARCHAR);

            try (PreparedStatement insert = connection.prepareStatement(
                    "INSERT INTO items_copied VALUES (0, ?::vector, ?::vector::halfvec, ?::real[]::vector::sparsevec)")) {
                insert.setString(1, text);
                insert.setString(2, text);
                insert.setArray(3, array);
                Data.checkEqual(insert.executeUpdate(), 1, "rows inserted");
            }
            try (Statement statement = connection.createStatement();
                    ResultSet found = statement.executeQuery("SELECT * FROM items_copied WHERE id = 0")) {
                found.next();
                Data.checkEqual(found.getString("vector"), text, "vector");
                Data.checkEqual(found.getString("halfvec"), text, "halfvec");
                Data.checkEqual(found.getString("sparsevec"), Type.SPARSEVEC.text(search.query()), "sparsevec");
            }
        }
    }

    private static void findCast(Connection connection, Search search, String cast, Object value, int type)
            throws SQLException {
        try (PreparedStatement explain = connection.prepareStatement("EXPLAIN " + search.nearest(cast));
                PreparedStatement select = connection.prepareStatement(search.nearest(cast))) {
            for (PreparedStatement statement : List.of(explain, select)) {
                statement.setObject(1, value, type);
                statement.setObject(2, value, type);
            }
            checkIndexScan(plan(explain), search);
            // The driver has the server keep the statement from the fifth time on.
            for (int i = 0; i < 12; i++) {
                search.checkAnswer(find(select), Data.NEAREST);
            }
        }
    }

    /** Arrays of each type, as a result and as a parameter. */
    private static void arrays() throws SQLException {
        try (Connection connection = connect(false)) {
            for (Type type : Type.values()) {
                String select = "SELECT array_agg(%1$s ORDER BY id) FROM items WHERE %1$s = ANY (?)".formatted(type.sql);
                List<Row> some = List.of(Data.ROWS.get(4), Data.ROWS.get(9), Data.ROWS.get(16));
                Object[] texts = some.stream().map(row -> type.text(row.of(type))).toArray();
                try (PreparedStatement statement = connection.prepareStatement(select)) {
                    statement.setArray(1, connection.createArrayOf(type.sql, texts));
                    try (ResultSet found = statement.executeQuery()) {
                        found.next();
                        // Bits come as booleans from getArray, which takes one for each.
                        String printed = found.getString(1);
                        Data.checkEqual(printed, printedArray(texts, type == Type.BIT), type.sql + "[]");
                    }
                }
            }
        }
    }

    private static String printedArray(Object[] texts, boolean bare) {
        String quote = bare ? "" : "\"";
        return Stream.of(texts).map(text -> quote + text + quote).collect(Collectors.joining(",", "{", "}"));
    }

    /** Settings that are given before the library is loaded, and changed after. */
    private static void settings() throws SQLException {
        String options = "-c hnsw.ef_search=10 -c hnsw.iterative_scan=relaxed_order -c enable_seqscan=off";
        try (Connection connection = connect("options", options)) {
            try (PreparedStatement select = connection.prepareStatement(Data.SEARCHES.get(0).statement("?") + " LIMIT 100")) {
                bindTwice(select, Data.SEARCHES.get(0), false);
                Data.checkEqual(find(select).size(), 100, "rows in relaxed order");
                execute(connection, "SET hnsw.iterative_scan = off");
                int count = find(select).size();
                Data.check(count >= 1 && count <= 10, count + " rows of one scan");
            }
        }
    }

    /** Types by name in descriptions of results, parameters and columns. */
    private static void names() throws SQLException {
        List<String> types = Arrays.stream(Type.values()).map(type -> type.sql).toList();
        try (Connection connection = connect();
                PreparedStatement select = connection.prepareStatement(
                    "SELECT vector, halfvec, sparsevec, bit FROM items WHERE vector = ? AND sparsevec = ?")) {
            Data.checkEqual(IntStream.rangeClosed(1, 4).mapToObj(i -> nameOf(select, i)).toList(), types, "results");
            Data.checkEqual(select.getParameterMetaData().getParameterTypeName(1), "vector", "first parameter");
            Data.checkEqual(select.getParameterMetaData().getParameterTypeName(2), "sparsevec", "second parameter");
            List<String> columns = new ArrayList<>();
            try (ResultSet found = connection.getMetaData().getColumns(null, "public", "items", "%")) {
                while (found.next()) {
                    columns.add(found.getString("TYPE_NAME"));
                }
            }
            Data.checkEqual(columns.subList(1, 5), types, "columns");
        }
    }

    private static String nameOf(PreparedStatement select, int column) {
        try {
            return select.getMetaData().getColumnTypeName(column);
        } catch (SQLException error) {
            throw new IllegalStateException(error);
        }
    }

    /** A row of a batch that is refused takes the whole batch along, and the session goes on. */
    private static void errors() throws SQLException {
        Search search = Data.SEARCHES.get(0);
        try (Connection connection = connect(true)) {
            connection.setAutoCommit(false);
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items (id, vector) VALUES (?, ?)")) {
                for (int i = 1; i <= 3; i++) {
                    insert.setInt(1, -i);
                    insert.setObject(2, new BinaryValue(Type.VECTOR, i == 2 ? new double[3] : search.query()));
                    insert.addBatch();
                }
                insert.executeBatch();
                throw new AssertionError("3 dimensions were stored");
            } catch (BatchUpdateException error) {
                Data.checkEqual(error.getSQLState(), "22000", "SQLSTATE");
                String expected = "expected " + Data.DIMENSIONS + " dimensions, not 3";
                Data.check(error.getMessage().contains(expected), error.getMessage());
            }
            connection.rollback();
            useIndexes(connection);
            try (PreparedStatement select = connection.prepareStatement(search.nearest("?"))) {
                bindTwice(select, search, true);
                search.checkAnswer(find(select), Data.NEAREST);
            }
            connection.rollback();
        }
    }
}
