//! The checker: reads a whole graph and reports its faults.
//!
//! Every page is copied under its lock and checked without. References between records are compared
//! when the other record is read, so that the checker works while other sessions read and insert: a
//! fault that they might have caused in between is checked once more before it is reported. Callers
//! keep VACUUM out, because a VACUUM at the same time would cause false reports.
//!
//! - `records`: pages, records, and the references between the records of a node;
//! - `links`: links and codes;
//! - `reach`: reachability from the entry point.

mod links;
mod lists;
mod reach;
mod records;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use std::ops::Range;

use crate::error::{Error, Result};
use crate::fallible::{Room, TryPush};
use crate::filter::values::Values;
use crate::hnsw::node_set::NodeSet;
use crate::hnsw::sampled_queries;
use crate::hnsw::space::Point;
use crate::hnsw::{Graph, read_learned};
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::node_page::NodePage;
use crate::storage::page::{self, Page};
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, HeapTid, Link, NodeRef, PageStore, calibration, walk};

/// Severity of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A fault that no crash and no concurrent change leaves behind.
    Corruption,
    /// A fault that they may leave: it costs recall or space, and never makes an answer wrong.
    /// VACUUM repairs it.
    Leftover,
}

/// A fault of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its severity.
    pub severity: Severity,
    /// The block; none if the fault is about a row that the index should have.
    pub block: Option<BlockNumber>,
    /// The slot on the page, if the fault is about a record.
    pub slot: Option<u32>,
    /// Description of the fault.
    pub what: String,
}

/// A row of the index: its TID, and some bits of a hash of its vector and filter values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row(u64);

impl Row {
    /// A row, with the [`fingerprint`] of its vector and filter values.
    pub fn new(tid: HeapTid, fingerprint: u16) -> Row {
        Row(u64::from(tid.block) << 32 | u64::from(tid.offset) << 16 | u64::from(fingerprint))
    }

    /// A row without a place in the graph.
    pub fn unplaced(tid: HeapTid, kind: Unplaced) -> Row {
        Row::new(tid, fingerprint_of(&kind.owner().0.to_le_bytes(), &Values::NONE))
    }

    /// The block of the table that has the row.
    fn block(self) -> u64 {
        self.0 >> 32
    }

    /// The row's TID.
    pub fn tid(self) -> HeapTid {
        HeapTid {
            block: (self.0 >> 32) as u32,
            offset: (self.0 >> 16) as u16,
        }
    }
}

/// Receives the rows of the index that are in some blocks of the table.
pub type EachPart<'f> = dyn FnMut(&[Row], Range<u64>) -> Result<()> + 'f;

/// The end of all blocks of a table.
const ALL: u64 = 1 << 32;

/// Rows of the index in a range of blocks of the table, as many blocks as the memory allows: a pass
/// over the index keeps the rows of the first blocks that were not compared yet.
struct Rows {
    kept: Vec<Row>,
    blocks: Range<u64>,
    most: usize,
}

impl Rows {
    fn new(bytes: usize) -> Rows {
        Rows {
            kept: Vec::new(),
            blocks: 0..ALL,
            most: (bytes / size_of::<Row>()).max(FEWEST_ROWS),
        }
    }

    /// Adds a row, if it is in one of the blocks.
    fn add(&mut self, row: Row) -> Result<()> {
        if !self.blocks.contains(&row.block()) {
            return Ok(());
        }
        self.kept.try_push(row)?;
        if self.kept.len() > self.most {
            self.leave_half();
        }
        Ok(())
    }

    /// Leaves the last blocks, with about half of the rows, to another pass; keeps at least one
    /// block.
    fn leave_half(&mut self) {
        let middle = self.kept.len() / 2;
        let (_, row, _) = self.kept.select_nth_unstable(middle);
        self.blocks.end = row.block().max(self.blocks.start + 1);
        let end = self.blocks.end;
        self.kept.retain(|row| row.block() < end);
        // Only a damaged index has so many rows in one block: they are kept together, as long as
        // there is memory.
        self.most = self.most.max(2 * self.kept.len());
    }

    /// Begins another pass, if blocks are left.
    fn go_on(&mut self) -> bool {
        self.blocks = self.blocks.end..ALL;
        self.kept.clear();
        !self.blocks.is_empty()
    }
}

/// Least number of rows that a pass keeps.
const FEWEST_ROWS: usize = 1024;

/// Some bits of a hash of a stored vector and of its filter values.
pub fn fingerprint(point: &Point) -> u16 {
    fingerprint_of(&point.stored, &point.values)
}

fn fingerprint_of(stored: &[u8], values: &Values) -> u16 {
    let mut hasher = DefaultHasher::new();
    hasher.write(stored);
    values.hash(&mut hasher);
    hasher.finish() as u16
}

/// The receiver of faults.
struct Report<'r> {
    fault: &'r mut dyn FnMut(Fault),
}

impl Report<'_> {
    fn add(&mut self, severity: Severity, block: BlockNumber, slot: Option<u32>, what: impl Into<String>) {
        let what = what.into();
        (self.fault)(Fault {
            severity,
            block: Some(block),
            slot,
            what,
        });
    }
}

/// State of the checker.
struct Seen {
    rows: Rows,
    /// TID extensions that belong to a chain.
    chained: NodeSet,
    /// All TID extensions.
    extensions: NodeSet,
    /// Memory for vectors.
    own: Point,
    other: Point,
    /// Memory for codes.
    words: Vec<u32>,
    expected: Vec<u32>,
}

/// Reports the faults of the index. Returns its rows in the order of their TIDs.
#[cfg(any(test, feature = "fuzz"))]
pub fn check<S: PageStore>(graph: &Graph<'_, S>, fault: &mut dyn FnMut(Fault)) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    within(graph, usize::MAX, fault, &mut |rows, _| {
        all.try_extend(rows.iter().copied())
    })?;
    Ok(all)
}

/// Reports the faults of the index, within about `memory` bytes. Passes `each` all rows of the
/// index in the order of their TIDs, with the range of blocks of the table that they belong to, as
/// many blocks at a time as the memory allows; each further range takes another pass over the
/// index.
pub fn within<S: PageStore>(
    graph: &Graph<'_, S>,
    memory: usize,
    fault: &mut dyn FnMut(Fault),
    each: &mut EachPart<'_>,
) -> Result<()> {
    let mut report = Report { fault };
    let mut seen = Seen {
        rows: Rows::new(memory / 2),
        chained: NodeSet::default(),
        extensions: NodeSet::default(),
        own: Point::default(),
        other: Point::default(),
        words: vec![0; graph.space.layout.code_words()],
        expected: vec![0; graph.space.layout.code_words()],
    };
    let measured = |page: &Page| calibration::read(page).and(walk::read(page)).map(drop);
    if let Err(error) = graph.store.read(META_BLOCK, measured) {
        report.add(Severity::Corruption, META_BLOCK, None, reason(error)?);
    }
    // The graph's own copy is of an earlier scan, perhaps.
    match read_learned(graph.store, &graph.space.parameters) {
        Err(Error::Corrupted { block, reason, .. }) => report.add(Severity::Corruption, block, None, reason),
        other => drop(other?),
    }
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        let page = graph.store.read_in_passing(block, |page| Ok(*page))?;
        if page::is_new(&page) {
            report.add(
                Severity::Leftover,
                block,
                None,
                "the page was added and never used, as after a crash",
            );
            continue;
        }
        if page::is_list(&page) {
            lists::check_page(graph, &page, block, &mut seen, &mut report)?;
            continue;
        }
        match NodePage::new(&page, block, &graph.space.layout) {
            Ok(nodes) => check_page(graph, &nodes, block, &mut seen, &mut report)?,
            Err(error) => report.add(Severity::Corruption, block, None, reason(error)?),
        }
    }
    records::check_unplaced(graph, &mut seen, &mut report)?;
    records::check_extensions(graph, &seen, &mut report)?;
    loop {
        check_rows(graph, &mut seen.rows.kept, &mut report)?;
        each(&seen.rows.kept, seen.rows.blocks.clone())?;
        if !seen.rows.go_on() {
            break;
        }
        collect_rows(graph, &mut seen)?;
    }
    seen.rows.kept = Vec::new();
    if let Err(error) = sampled_queries::check(graph) {
        report.add(Severity::Corruption, META_BLOCK, None, reason(error)?);
    }
    lists::check(graph, memory / 2, &mut report)?;
    reach::check(graph, memory / 2, &mut report)
}

/// Another pass for rows alone; the first one reported the faults.
fn collect_rows<S: PageStore>(graph: &Graph<'_, S>, seen: &mut Seen) -> Result<()> {
    seen.chained = NodeSet::default();
    each_readable(graph, |node, record| {
        if !matches!(record.state(), State::Node | State::Dead) || record.level() > 0 {
            return Ok(());
        }
        let generation = record.generation();
        let at = Link { node, generation };
        let is_whole = read_own(graph, at, record, &mut seen.own);
        let fingerprint = is_whole.then(|| fingerprint(&seen.own));
        records::check_node(graph, at, record, fingerprint, seen, &mut |_, _| ())
    })?;
    records::check_unplaced(graph, seen, &mut Report { fault: &mut |_| () })
}

fn check_page<S: PageStore>(
    graph: &Graph<'_, S>,
    nodes: &NodePage<'_>,
    block: BlockNumber,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Result<()> {
    if nodes.len() > graph.space.layout.slots {
        report.add(Severity::Corruption, block, None, "the page has more records than fit");
    }
    for slot in 0..nodes.len().min(graph.space.layout.slots) {
        match nodes.record(slot) {
            Ok(record) => check_record(graph, block, slot, &record, seen, report)?,
            Err(error) => report.add(Severity::Corruption, block, Some(slot), reason(error)?),
        }
    }
    Ok(())
}

fn check_record<S: PageStore>(
    graph: &Graph<'_, S>,
    block: BlockNumber,
    slot: u32,
    record: &Record<'_>,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Result<()> {
    let node = graph.space.layout.node(block, slot)?;
    let generation = record.generation();
    let at = Link { node, generation };
    let mut found = |severity, what: &str| report.add(severity, block, Some(slot), what);
    match record.state() {
        State::Free => return Ok(()),
        State::Extension => {
            seen.extensions.insert(node)?;
            records::check_tids(record, &mut found);
            return Ok(());
        }
        State::Overflow => return records::check_overflow(graph, record, &mut found),
        State::Node | State::Dead => {}
    }
    let is_whole = read_own(graph, at, record, &mut seen.own);
    let fingerprint = is_whole.then(|| fingerprint(&seen.own));
    records::check_node(graph, at, record, fingerprint, seen, &mut found)?;
    if !is_whole {
        if record.level() > 0 || record.is_complete() {
            found(
                Severity::Corruption,
                "the end of its vector is not where the record says",
            );
        } else {
            found(Severity::Leftover, "the end of its vector is missing, as after a crash");
        }
        return Ok(());
    }
    if !graph.space.is_sound(&seen.own) {
        found(Severity::Corruption, "its vector is malformed or not finite");
    }
    links::check(graph, at, record, seen, &mut found)
}

/// Reads the vector of a copied record; says whether all of it exists.
fn read_own<S: PageStore>(graph: &Graph<'_, S>, at: Link, record: &Record<'_>, point: &mut Point) -> bool {
    if graph.space.layout.overflows > 0 {
        return matches!(graph.read_point(at, record.level(), point), Ok(Some(_)));
    }
    point.stored.clear();
    point.stored.extend_from_slice(record.vector());
    point.values = record.values();
    graph.space.decode(&point.stored, &mut point.coordinates);
    true
}

/// Sorts the rows, and reports rows that the index has more than once.
fn check_rows<S: PageStore>(graph: &Graph<'_, S>, rows: &mut [Row], report: &mut Report<'_>) -> Result<()> {
    rows.sort_unstable();
    let twice = rows.windows(2).filter(|pair| pair[0].tid() == pair[1].tid());
    let mut times: HashMap<HeapTid, u32> = HashMap::new();
    for pair in twice {
        times.room(1)?;
        times.insert(pair[0].tid(), 0);
    }
    if times.is_empty() {
        return Ok(());
    }
    each_readable(graph, |node, record| {
        for tid in record.tids().filter(|_| record.state() != State::Free) {
            let Some(times) = times.get_mut(&tid) else { continue };
            *times += 1;
            if *times > 1 {
                let what = format!("the index has heap TID ({},{}) more than once", tid.block, tid.offset);
                let (block, slot) = (graph.space.layout.block(node), graph.space.layout.slot(node));
                report.add(Severity::Corruption, block, Some(slot), what);
            }
        }
        Ok(())
    })
}

/// Passes `f` every readable record, from copies of the pages.
fn each_readable<S: PageStore>(
    graph: &Graph<'_, S>,
    mut f: impl FnMut(NodeRef, &Record<'_>) -> Result<()>,
) -> Result<()> {
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        let page = graph.store.read_in_passing(block, |page| Ok(*page))?;
        let Ok(nodes) = NodePage::new(&page, block, &graph.space.layout) else {
            continue;
        };
        for slot in 0..nodes.len().min(graph.space.layout.slots) {
            if let Ok(record) = nodes.record(slot) {
                f(graph.space.layout.node(block, slot)?, &record)?;
            }
        }
    }
    Ok(())
}

/// Description of a page's damage; other errors end the check.
fn reason(error: Error) -> Result<&'static str> {
    match error {
        Error::Corrupted { reason, .. } => Ok(reason),
        other => Err(other),
    }
}

/// The result of reading another page; none if that page is damaged, which is reported when the
/// page itself is checked.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::Corrupted { block, .. }) if block != META_BLOCK => Ok(None),
        Err(error) => Err(error),
    }
}
