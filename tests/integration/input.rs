//! Text and binary input of each type, of any contents: either a value that prints and sends as its
//! source, or an error about the data; never a crash.

use std::error::Error;

use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Row};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::cluster::Cluster;
use crate::data::random;
use crate::search_effort::rounds;

/// A type, and values of it to start from.
struct Kind {
    name: &'static str,
    samples: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "vector",
        samples: &["[1,2.5,-3e-05]", " [ +0.1 , 1e38,\t-.5e-45 ]", "[16777217,-0,1e-46]"],
    },
    Kind {
        name: "halfvec",
        samples: &["[1,2.5,-3e-05]", " [ +0.1 , 65504,\t-.5e-7 ]", "[2049,-0,1e-9]"],
    },
    Kind {
        name: "sparsevec",
        samples: &["{1:1.5,3:-2e-05}/5", "{}/1", " { 7 : 1 , 2:.5 } / 1000000000 "],
    },
];

/// The bytes of a parameter, as they are sent.
#[derive(Debug)]
struct Wire(Vec<u8>);

impl ToSql for Wire {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Changes, cuts off, doubles or replaces some bytes; new ones are picked from `alphabet`, or any
/// if that is empty.
fn mutate(bytes: &mut Vec<u8>, alphabet: &[u8], random: &mut SmallRng) {
    for _ in 0..random.random_range(0..4) {
        let new = match alphabet {
            [] => random.random(),
            _ => alphabet[random.random_range(0..alphabet.len())],
        };
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, new),
            2 => bytes.extend_from_within(at..),
            _ if at < bytes.len() => bytes[at] = new,
            _ => {}
        }
    }
}

/// The row, unless the error is one about the data.
fn tolerate(what: &str, result: Result<Row, postgres::Error>) -> Option<Row> {
    match result {
        Ok(row) => Some(row),
        Err(error) => {
            let code = error.code().map(|state| state.code().to_string()).unwrap_or_default();
            assert!(code.starts_with("22") || code == "54000", "{what}: {error:?}");
            None
        }
    }
}

fn feed(client: &mut Client, kind: &Kind, times: usize, random: &mut SmallRng) {
    let Kind { name, samples } = kind;
    let from_text = format!("SELECT ($1::text::{name})::text, {name}_send($1::text::{name})");
    let from_wire = format!("SELECT ($1::{name})::text, {name}_send($1::{name})");
    let from_text = client.prepare(&from_text).expect("a statement");
    let from_wire = client.prepare(&from_wire).expect("a statement");
    let (mut accepted, mut refused) = (0, 0);
    for time in 0..times {
        let mut text = samples[time % samples.len()].as_bytes().to_vec();
        mutate(&mut text, b"[]{}:,/.+-eE0123456789 \tnaif\xc3\xa9", random);
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some(row) = tolerate(&text, client.query_one(&from_text, &[&text])) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        // The text and the binary form of a value both give the same value.
        let (printed, sent): (String, Vec<u8>) = (row.get(0), row.get(1));
        let again = client
            .query_one(&from_text, &[&printed])
            .expect("what was printed can be read");
        assert_eq!(
            (again.get::<_, String>(0), again.get::<_, Vec<u8>>(1)),
            (printed.clone(), sent.clone()),
            "{text}"
        );
        let again = client
            .query_one(&from_wire, &[&Wire(sent.clone())])
            .expect("what was sent can be received");
        assert_eq!(
            (again.get::<_, String>(0), again.get::<_, Vec<u8>>(1)),
            (printed, sent.clone()),
            "{text}"
        );

        let mut wire = sent;
        mutate(&mut wire, &[], random);
        let what = format!("{wire:?}");
        if let Some(row) = tolerate(&what, client.query_one(&from_wire, &[&Wire(wire.clone())])) {
            assert_eq!(row.get::<_, Vec<u8>>(1), wire, "received is sent again");
        }
    }
    assert!(
        accepted > times / 10 && refused > times / 10,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn any_input_is_read_or_refused() {
    let mut random = random("any_input_is_read_or_refused");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    for kind in &KINDS {
        feed(&mut client, kind, rounds(3_000, 60_000), &mut random);
    }
    assert!(!cluster.has_crashed());
}
