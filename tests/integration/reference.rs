//! docs/reference.md lists all objects of the extension, as the server describes them, and no
//! others.

use std::collections::BTreeSet;

use postgres::Client;

use crate::cluster::{Cluster, extension};

const PAGE: &str = include_str!("../../docs/reference.md");

/// Where the options of an index are parsed: no catalog lists them.
const OPTIONS: &str = include_str!("../../src/am/options.rs");

/// For each section of the page, a query for the names of its objects and the text of the second
/// column.
const CATALOGS: [(&str, &str); 8] = [
    (
        "Types",
        "SELECT format_type(oid, NULL), format_type(typarray, NULL)
            FROM members JOIN pg_type USING (oid) WHERE catalog = 'pg_type' AND typcategory NOT IN ('A', 'C')",
    ),
    (
        "Functions",
        "SELECT format('%s(%s)', proname, oidvectortypes(proargtypes)), coalesce(pg_get_function_result(oid), 'procedure')
            FROM members JOIN pg_proc USING (oid) WHERE catalog = 'pg_proc' AND prokind <> 'a'",
    ),
    (
        "Aggregates",
        "SELECT format('%s(%s)', proname, oidvectortypes(proargtypes)), pg_get_function_result(oid)
            FROM members JOIN pg_proc USING (oid) WHERE catalog = 'pg_proc' AND prokind = 'a'",
    ),
    (
        "Operators",
        "SELECT format('%s %s %s', oprleft::regtype, oprname, oprright::regtype), proname::text
            FROM members JOIN pg_operator USING (oid) JOIN pg_proc p ON p.oid = oprcode WHERE catalog = 'pg_operator'",
    ),
    (
        "Casts",
        "SELECT format('%s AS %s', castsource::regtype, casttarget::regtype),
                CASE castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' ELSE 'explicit' END
            FROM members JOIN pg_cast USING (oid) WHERE catalog = 'pg_cast'",
    ),
    (
        "Views",
        "SELECT relname::text, (SELECT count(*) || ' columns' FROM pg_attribute WHERE attrelid = c.oid)
            FROM members JOIN pg_class c USING (oid) WHERE catalog = 'pg_class'",
    ),
    (
        "Access method",
        "SELECT amname::text, amhandler::text FROM members JOIN pg_am USING (oid) WHERE catalog = 'pg_am'",
    ),
    (
        "Operator classes",
        "SELECT opcname::text, amname::text
            FROM members JOIN pg_opclass c USING (oid) JOIN pg_am a ON a.oid = opcmethod WHERE catalog = 'pg_opclass'",
    ),
];

/// Members that no section is about. Families go with their classes.
const OTHERS: &str = "SELECT catalog, oid::text FROM members
    WHERE catalog NOT IN ('pg_type', 'pg_class', 'pg_proc', 'pg_operator', 'pg_cast', 'pg_am', 'pg_opclass')
        AND NOT (catalog = 'pg_opfamily' AND EXISTS (SELECT FROM pg_opfamily f JOIN pg_opclass ON opcfamily = f.oid
            WHERE f.oid = members.oid))";

const SETTINGS: &str =
    "SELECT name, boot_val || coalesce(' ' || unit, '') FROM pg_settings WHERE name SIMILAR TO '(hnsw|ivfflat).%'";

/// An object and its text.
type Entry = (String, String);

/// The texts in backticks.
fn code(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string)
}

/// Entries of the tables of a section: each text in backticks in the first cell of a row is an
/// object, and the second cell is about all of them.
fn listed(section: &str) -> BTreeSet<Entry> {
    let heading = format!("\n## {section}\n");
    let (_, text) = PAGE
        .split_once(&heading)
        .unwrap_or_else(|| panic!("no section {section:?}"));
    let text = text.split("\n## ").next().unwrap_or(text);
    let mut entries = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        // A bar within a cell is escaped.
        let line = line.replace("\\|", "\0");
        let mut cells = line.split('|').skip(1).map(|cell| cell.trim().replace('\0', "|"));
        let (names, said) = (
            cells.next().expect("a first cell"),
            cells.next().expect("a second cell"),
        );
        for name in code(&names) {
            assert!(
                entries.insert((name.clone(), said.replace('`', ""))),
                "{name} is listed twice"
            );
        }
    }
    assert!(!entries.is_empty(), "nothing is listed in {section:?}");
    entries
}

fn assert_equal(section: &str, is: &BTreeSet<Entry>) {
    let listed = listed(section);
    let missing: Vec<_> = is.difference(&listed).collect();
    let too_much: Vec<_> = listed.difference(is).collect();
    assert!(
        missing.is_empty() && too_much.is_empty(),
        "docs/reference.md, {section}\nlacks {missing:#?}\nhas too much {too_much:#?}"
    );
}

fn entries(client: &mut Client, query: &str) -> BTreeSet<Entry> {
    let rows = client.query(query, &[]).expect("the catalog is read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn the_reference_lists_what_is_there() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    client
        .batch_execute(&format!(
            "CREATE TEMP TABLE members AS SELECT classid::regclass::text AS catalog, objid AS oid FROM pg_depend
                JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid
                WHERE deptype = 'e' AND extname = '{}'",
            extension()
        ))
        .expect("the members of the extension");
    for (section, query) in CATALOGS {
        assert_equal(section, &entries(&mut client, query));
    }
    let others = entries(&mut client, OTHERS);
    assert!(others.is_empty(), "members that no section is about: {others:?}");
    // This loads the library, which brings the settings.
    assert_equal("Options of an index", &options(&mut client));
    assert_equal("Settings", &entries(&mut client, SETTINGS));
}

/// The options of an index, and the bounds that the server says they have.
fn options(client: &mut Client) -> BTreeSet<Entry> {
    client
        .batch_execute("CREATE TABLE items (embedding vector(3))")
        .expect("a table");
    let (_, elements) = OPTIONS.split_once("let of_hnsw = [").expect("the options");
    let (elements, _) = elements.split_once("let (kind, elements)").expect("the last option");
    let names = elements.split("(c\"").skip(1);
    names
        .map(|rest| {
            let (name, _) = rest.split_once('"').expect("a name in quotes");
            let method = if name == "lists" { "ivfflat" } else { "hnsw" };
            let query = format!("CREATE INDEX ON items USING {method} (embedding vector_l2_ops) WITH ({name} = -1)");
            let error = client.batch_execute(&query).expect_err("a value out of bounds");
            let detail = error.as_db_error().and_then(|error| error.detail()).expect("bounds");
            let bounds: Vec<_> = detail.split('"').skip(1).step_by(2).collect();
            let between = if detail.contains("between") { " to " } else { " or " };
            (name.to_string(), bounds.join(between))
        })
        .collect()
}
