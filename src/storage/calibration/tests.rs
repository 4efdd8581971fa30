use super::*;
use crate::distance::Metric;
use crate::error::Error;
use crate::filter::lists;
use crate::storage::layout::{Encoding, FilterColumns, Shape};
use crate::storage::page::PAGE_SIZE;
use crate::storage::parameters::{Element, Parameters, Reflections};

pub fn meta_page() -> Page {
    let parameters = Parameters {
        shape: Shape {
            dimensions: 8,
            m: 16,
            encoding: Encoding::Float32,
            code_bits: 0,
            filters: FilterColumns::NONE,
        },
        element: Element::Vector,
        metric: Metric::L2,
        ef_construction: 64,
        seed: 1,
        centroid: 0,
        filters: [None; crate::filter::values::MOST_COLUMNS],
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    };
    let mut page = [0; PAGE_SIZE];
    meta::init(&mut page, &parameters).unwrap();
    page
}

fn measured(width: u32, recall: f32) -> Measured {
    Measured {
        width,
        recall: [recall; 3],
        visits: [width as f32; 3],
    }
}

pub fn calibration() -> Calibration {
    Calibration {
        finished: 5,
        nodes: 10_000,
        removed: 7,
        blocks: 99,
        queries: 300,
        source: Source::Rows,
        measured: vec![measured(10, 0.9), measured(100, 0.99), measured(1000, 0.999)],
    }
}

#[test]
fn a_calibration_is_read_as_it_was_stored() {
    let mut page = meta_page();
    let (before, compaction) = (meta::read(&page), meta::read_compaction(&page));
    assert_eq!(read(&page), Ok(None));
    assert_eq!(add_removed(&mut page, 1), Ok(false));
    set(&mut page, &calibration()).unwrap();
    assert_eq!(read(&page), Ok(Some(calibration())));
    assert_eq!(add_removed(&mut page, 3), Ok(true));
    assert_eq!(read(&page).unwrap().unwrap().removed, 10);
    assert_eq!((meta::read(&page), meta::read_compaction(&page)), (before, compaction));
    let full = Calibration {
        source: Source::Queries,
        measured: (1..=MOST as u32).map(|width| measured(width, 0.5)).collect(),
        ..calibration()
    };
    set(&mut page, &full).unwrap();
    assert_eq!(read(&page), Ok(Some(full.clone())));
    assert_eq!(page::lower(&page), 6920);
    let mut more = full;
    more.measured.push(measured(500, 0.5));
    assert!(set(&mut page, &more).is_err());
}

#[test]
fn every_changed_bit_of_a_calibration_is_noticed() {
    let mut good = meta_page();
    set(&mut good, &calibration()).unwrap();
    for at in AT..END {
        for bit in 0..8 {
            let mut page = good;
            page[at] ^= 1 << bit;
            assert!(
                matches!(read(&page), Err(Error::Corrupted { .. })),
                "bit {bit} of byte {at}"
            );
        }
    }
}

#[test]
fn a_calibration_that_makes_no_sense_is_refused() {
    let of = |measured: Vec<Measured>| Calibration {
        measured,
        ..calibration()
    };
    let nan = Measured {
        visits: [1.0, f32::NAN, 1.0],
        ..measured(10, 0.5)
    };
    let unsound = [
        of(vec![]),
        of(vec![measured(0, 0.5)]),
        of(vec![measured(1001, 0.5)]),
        of(vec![measured(10, 1.5)]),
        of(vec![measured(10, -0.1)]),
        of(vec![measured(10, f32::NAN)]),
        of(vec![measured(20, 0.5), measured(10, 0.6)]),
        of(vec![measured(10, 0.5), measured(10, 0.6)]),
        of(vec![nan]),
    ];
    for unsound in unsound {
        let mut page = meta_page();
        assert!(set(&mut page, &unsound).is_err(), "{unsound:?}");
    }
}

#[test]
fn a_recall_gives_the_width_between_measured_ones() {
    let calibration = calibration();
    assert_eq!(calibration.width(USUAL, 0.5), 10);
    assert_eq!(calibration.width(USUAL, 0.9), 10);
    assert_eq!(calibration.width(USUAL, 0.99), 100);
    // Half of the way by the logarithms of the missing share and of the width.
    assert_eq!(calibration.width(USUAL, 1.0 - 0.1 * 0.1f64.sqrt()), 32);
    assert_eq!(calibration.width(USUAL, 1.0), 1000);
    let short = Calibration {
        measured: vec![measured(10, 0.8), measured(20, 0.9)],
        ..calibration
    };
    // Doubling the width halves the missing share.
    assert_eq!(short.width(USUAL, 0.95), 40);
    assert_eq!(short.width(USUAL, 0.9999), 55);
    let flat = Calibration {
        measured: vec![measured(10, 0.8), measured(20, 0.8)],
        ..short.clone()
    };
    assert_eq!(flat.width(USUAL, 0.99), 55);
    let one = Calibration {
        measured: vec![measured(40, 0.5)],
        ..short
    };
    assert_eq!(one.width(USUAL, 0.6), 63);
}

#[test]
fn recall_and_visits_follow_the_width() {
    let calibration = calibration();
    let recall = |width| calibration.recall(USUAL, width);
    assert!((recall(5) - 0.9).abs() < 1e-6 && (recall(55) - 0.945).abs() < 1e-6);
    assert!((recall(2000) - 0.999).abs() < 1e-6);
    assert_eq!(calibration.visits(USUAL, 55), 55.0);
    assert_eq!(calibration.visits(USUAL, 2000), 2000.0);
}

#[test]
fn more_rows_take_a_wider_search() {
    let of = |width, few, many| Measured {
        width,
        recall: [few, few, many],
        ..Measured::default()
    };
    let calibration = Calibration {
        measured: vec![
            of(10, 0.9, 0.0),
            of(40, 0.99, 0.0),
            of(160, 0.999, 0.96),
            of(640, 0.9999, 0.99),
        ],
        ..calibration()
    };
    let width = |rows| calibration.width_for_rows(rows, 0.99);
    assert_eq!((width(1.0), width(10.0)), (40, 40));
    // From 10 to 100 rows the width grows from 40 to 640, and from 10 to 31.6 by the root of that.
    assert_eq!((width(1000f64.sqrt()), width(100.0)), (160, 640));
    // A row has a width of 4, then of 6.4; it never grows.
    assert_eq!((width(1000.0), width(2000.0)), (6400, 12_800));
    assert_eq!(calibration.width_for_rows(100.0, 0.5), 160);
    let narrow = Calibration {
        measured: vec![of(10, 0.9, 0.0), of(40, 0.99, 0.0)],
        ..calibration
    };
    assert_eq!(narrow.width_for_rows(100.0, 0.99), 130);
    // A row of 10 has a width of 4, one of 100 of 1.3, of which the logarithm is .19 as large.
    assert_eq!(narrow.width_for_rows(1000.0, 0.99), 1051);
    // A search keeps as many rows as are wanted.
    assert_eq!(narrow.width_for_rows(1e4, 0.99), 10_094);
    assert_eq!(narrow.width_for_rows(7000.0, 0.5), 7000);
}
