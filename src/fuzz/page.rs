//! One page of any contents, read and changed through the views of `storage`.

use super::{Input, tolerate};
use crate::distance::Metric;
use crate::error::Result;
use crate::filter::lists::FEWEST_BITS;
use crate::filter::values::MOST_COLUMNS;
use crate::quantize::rabitq::{Codes, Factors};
use crate::storage::format::Unplaced;
use crate::storage::layout::{Encoding, FilterColumns};
use crate::storage::layout_plan::Storage;
use crate::storage::list_directory::ListDirectory;
use crate::storage::list_page::{self, Code, ListEntry, ListId, ListLayout};
use crate::storage::node_page::{self, NodePage, NodePageMut};
use crate::storage::page::{self, HEADER_SIZE, PAGE_SIZE, Page, PageKind, SPECIAL};
use crate::storage::record::{Record, State};
use crate::storage::{HeapTid, Layout, Link, NodeRef, calibration, meta, query_page, walk};

/// A block that every layout has.
const BLOCK: u32 = 1;

/// The list of a list page.
const LIST: ListId = ListId { column: 0, list: 127 };

/// Takes the input as the contents of a page, with a header and a special space that are valid or
/// not, and reads all of it as each kind of page.
pub fn any_page(input: &[u8]) {
    let mut input = Input(input);
    let layout = match input.u8() % 13 {
        0 => Layout::plan(3, 16, Metric::L1, 0),
        1 => Layout::plan(50, 16, Metric::L2, 0),
        2 => Layout::plan(50, 16, Metric::L1, 0),
        3 => Layout::plan(768, 16, Metric::L2, 0),
        4 => Layout::plan(6_000, 16, Metric::L2, 0),
        5 => Layout::plan(3_000, 16, Metric::L1, 0),
        6 => Layout::plain(1_000, 16, Encoding::Bits, 0),
        7 => Layout::plain(100, 16, Encoding::Sparse, 0),
        8 => Layout::plan(50, 16, Metric::L2, FilterColumns { count: 4, sets: 0b0100 }),
        9 => Layout::plan(50, 16, Metric::L1, 1),
        10 => Layout::plain(1_000_000, 16, Encoding::Sparse, 0),
        11 => Layout::plan_as(Storage::Compact, 4096, 2, Metric::L2, 1),
        _ => Layout::plan_as(Storage::Compact, 100, 16, Metric::L2, 1),
    };
    let layout = layout.expect("a layout");
    let (kind, is_sound, used) = (input.u8() % 8, !input.u8().is_multiple_of(4), u32::from(input.u8()));
    let lists = ListLayout::of(&layout);
    let mut page = page::NEW;
    match kind {
        0 => page::init(&mut page, PageKind::Meta, 0),
        1 => list_page::init(&mut page, LIST, &lists, 0, 1),
        6 => query_page::init(&mut page, usize::from(used as u8 % 4), layout.stride),
        7 => page::init(&mut page, PageKind::ListDirectory, 0),
        _ => node_page::init(&mut page, &layout, 0),
    }
    match (is_sound, kind) {
        (true, 1) => page::set_upper(&mut page, lists.start_of(used as usize)),
        (true, 6) => page::set_upper(&mut page, SPECIAL - 31 * used as usize),
        (true, _) => page::set_lower(&mut page, layout.offset(used % (layout.slots + 1))),
        (false, _) => {}
    }
    let range = if is_sound { HEADER_SIZE..SPECIAL } else { 0..PAGE_SIZE };
    let contents = input.bytes(range.len());
    page[range.start..range.start + contents.len()].copy_from_slice(contents);

    tolerate(meta::read(&page));
    tolerate(meta::read_entry(&page));
    tolerate(meta::read_compaction(&page));
    tolerate(calibration::read(&page));
    tolerate(walk::read(&page));
    tolerate(query_page::ring(&page));
    tolerate(query_page::block(&page, usize::from(used as u8)));
    for kind in Unplaced::ALL {
        tolerate(meta::read_unplaced(&page, kind));
    }
    let directory = ListDirectory::new(BLOCK, MOST_COLUMNS, FEWEST_BITS);
    for column in 0..MOST_COLUMNS as u8 {
        tolerate(directory.get(&page, ListId { column, ..LIST }));
    }
    tolerate(meta::read_borders(&page, 1));
    tolerate(read_all(&page, &layout));
    tolerate(change_all(&mut page, &layout));
    tolerate(read_all(&page, &layout));
    if tolerate(list_page::is_of(&page, BLOCK, list_page::id(&page), &lists)) == Some(true) {
        change_list(&mut page, &lists);
    }
    if tolerate(query_page::is_of(&page, BLOCK, 0, layout.stride)) == Some(true) {
        let mut all = Vec::new();
        tolerate(query_page::read(&page, &mut all));
        assert_eq!(all.len(), query_page::count(&page));
        let is_added = query_page::push(&mut page, 1, b"query");
        assert_eq!(query_page::count(&page), all.len() + usize::from(is_added));
    }
}

/// Takes entries from a page of a list and adds others.
fn change_list(page: &mut Page, layout: &ListLayout) {
    let count = |page: &Page| list_page::entries(page, layout).count();
    let before = count(page);
    assert!(before <= layout.most_entries());
    let gone = list_page::retain(page, layout, |entry| entry.signatures[0] % 2 == 0);
    assert_eq!(count(page) + gone, before);
    assert!(list_page::entries(page, layout).all(|entry| entry.signatures[0] % 2 == 0));
    let link = Link {
        node: NodeRef::NONE,
        generation: 255,
    };
    let entry = ListEntry {
        link,
        signatures: [1; MOST_COLUMNS],
    };
    let words = vec![0x5555_5555; layout.words()];
    let code = Code {
        words: &words,
        factors: Factors::default(),
    };
    while list_page::push(page, layout, &entry, &code) {}
    assert_eq!(count(page), layout.most_entries());
    let mut read = vec![0; layout.words()];
    for block in list_page::blocks(page, layout) {
        block.lanes().for_each(|lane| _ = block.read_code(lane, &mut read));
        if layout.words() > 0 {
            let (codes, offsets, scales) = block.codes();
            assert_eq!(codes.bytes.len(), Codes::len(layout.words(), codes.lanes));
            assert_eq!(offsets.len(), scales.len());
        }
    }
}

fn read_all(page: &Page, layout: &Layout) -> Result<()> {
    if let Some(nodes) = tolerate(NodePage::visited(page, BLOCK, layout)) {
        for slot in 0..layout.slots {
            tolerate(nodes.record(slot))
                .iter()
                .for_each(|record| read(record, layout));
        }
    }
    let nodes = NodePage::new(page, BLOCK, layout)?;
    tolerate(nodes.is_unused());
    for record in nodes.records() {
        tolerate(record).iter().for_each(|(_, record)| read(record, layout));
    }
    Ok(())
}

/// Reads all fields of a record.
fn read(record: &Record<'_>, layout: &Layout) {
    let mut words = vec![0; layout.code_words()];
    assert!(record.survivors().count() <= record.links().len());
    for i in 0..record.link_count() {
        record.is_fill(i);
        if layout.is_coded() {
            record.read_code(i, &mut words);
            record.codes(i / 32);
            (0..layout.filters()).for_each(|column| assert!(record.signatures_of(column, i / 32).len() >= 32));
        }
    }
    assert!((layout.filters()..MOST_COLUMNS).all(|column| record.values().get(column).is_none()));
    assert_eq!(record.tids().count(), record.tid_count());
    if matches!(record.state(), State::Node | State::Dead) {
        assert!(
            record
                .only_entry()
                .is_none_or(|entry| record.entries().next() == Some(entry))
        );
    }
    let (overflows, is_sparse) = (record.overflows().count(), layout.shape.encoding == Encoding::Sparse);
    assert!(overflows == layout.overflows || is_sparse && overflows < layout.overflows);
    assert!(record.is_complete() || layout.overflows > 0);
    assert!(record.overflow_bytes().len() < layout.stride && record.vector().len() < layout.stride);
}

/// Makes each kind of change of a record, on every other record.
fn change_all(page: &mut Page, layout: &Layout) -> Result<()> {
    let mut nodes = NodePageMut::new(page, BLOCK, layout)?;
    let mut words = vec![0; layout.code_words()];
    for slot in 0..nodes.view().len() {
        let Some(mut record) = tolerate(nodes.record(slot)) else {
            continue;
        };
        match record.view().state() {
            State::Node if slot % 4 == 0 => record.set_dead(),
            State::Node | State::Dead => {
                if record.view().link_count() > 0 {
                    record.remove_link(0, &mut words);
                }
                tolerate(record.push_tid(HeapTid { block: 1, offset: 1 }));
            }
            State::Extension => {
                let tids = record.view().tid_count();
                let gone = record.retain_tids(|tid| tid.block.is_multiple_of(2));
                assert_eq!(record.view().tid_count(), tids - gone);
            }
            State::Free | State::Overflow => nodes.free(slot)?,
        }
    }
    if let Some(Some(slot)) = tolerate(nodes.free_slot()) {
        tolerate(nodes.occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE));
    }
    Ok(())
}
