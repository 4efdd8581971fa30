//! The meta page, block 0: parameters, entry point, result of the last VACUUM, chains of rows
//! without a place in the graph.
//!
//! Contents, offsets from the start of the page: 24 magic (u32), 28 format version (u32), 32 entry
//! record (u32), 36 its generation (u8), 37 its level (u8), 38 the first generation of new pages'
//! slots (u8), 39 the removals since VACUUM last followed all links (u8), 40 length of the
//! parameters (u32), 44 the file that the index was built in (u32), 48 the parameters:
//! [`Parameters`] as bincode writes it (fixed-size little-endian integers), and their checksum
//! (u32), 256 the result of the last VACUUM ([`Compaction`], likewise), 304 the first TID
//! extensions of rows without a place in the graph ([`Unplaced`], u32 each), 312 the borders of
//! filter columns: their number for each column (u16), then the borders of one column after the
//! other (u64). The file, the parameters and the borders never change.
//!
//! All versions of the format have the page header, the special space, the magic number and the
//! version in these places, so that each tells an index of another from a damaged one.
//!
//! Slots of pages that are added after VACUUM cut pages off begin with a generation that no slot of
//! the cut pages had while it was in use, so that a remaining link into a cut page stays stale.

use serde::{Deserialize, Serialize};

use super::format::{FORMAT_VERSION, MAX_LEVEL, META_BLOCK, Unplaced};
use super::layout::{FilterColumns, Shape};
use super::page::{self, HEADER_SIZE, Page, PageKind, get_u16, get_u32, put_u16, put_u32};
use super::parameters::Parameters;
use super::{Layout, Link, NodeRef, checksum, corrupted, encoding, fnv1a, pgvector};
use crate::error::{Error, Result};
use crate::filter::lists;
use crate::filter::signature::MOST_BORDERS;
use crate::filter::values::MOST_COLUMNS;
use crate::quantize::rabitq::WORD_BITS;

const MAGIC: u32 = 0x5850_4C41; // "ALPX"
const VERSION_AT: usize = HEADER_SIZE + 4;
const ENTRY_AT: usize = HEADER_SIZE + 8;
const LENGTH_AT: usize = HEADER_SIZE + 16;
const FILE_AT: usize = HEADER_SIZE + 20;
const FIRST_GENERATION_AT: usize = HEADER_SIZE + 14;
const UNWALKED_AT: usize = HEADER_SIZE + 15;
const PARAMETERS_AT: usize = HEADER_SIZE + 24;
const COMPACTION_AT: usize = 256;

/// Divisor of the number of nodes: the unit in which removals are counted.
pub const UNWALKED_UNIT: u64 = 1024;

/// Start of a search: a record on the highest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoint {
    /// The record.
    pub link: Link,
    /// Its level.
    pub level: u8,
}

/// Result of the last VACUUM that removed anything; zero before the first one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// Time of its end, in microseconds since 2000-01-01 (PostgreSQL's `TimestampTz`).
    pub finished: i64,
    /// Nodes that had no row left.
    pub nodes_removed: u64,
    /// Links of other nodes to them, which were dropped or replaced.
    pub links_repaired: u64,
    /// Slots that became free.
    pub slots_freed: u64,
    /// Pages cut off from the end of the file.
    pub pages_truncated: u64,
    /// Its duration, in microseconds.
    pub duration: u64,
}

/// Bytes of a [`Compaction`] on the page.
const COMPACTION_LEN: usize = 6 * 8;

const UNPLACED_AT: usize = COMPACTION_AT + COMPACTION_LEN;
const BORDERS_AT: usize = UNPLACED_AT + Unplaced::ALL.len() * size_of::<u32>();

/// Bytes of the numbers of borders, which come before the borders.
const BORDER_COUNTS: usize = MOST_COLUMNS * size_of::<u16>();

/// The borders of the filter columns.
pub type Borders = [Vec<u64>; MOST_COLUMNS];

/// The hash of borders, by which the parameters name them: 0 if there are none.
pub fn borders_hash(borders: &Borders) -> u64 {
    if borders.iter().all(Vec::is_empty) {
        return 0;
    }
    let counts = borders.iter().map(|borders| borders.len() as u64);
    let all = counts.chain(borders.iter().flatten().copied());
    fnv1a(all.flat_map(u64::to_le_bytes)).max(1)
}

/// Writes the borders of filter columns to a page that [`init`] has made.
pub fn set_borders(page: &mut Page, borders: &Borders) {
    let mut at = BORDERS_AT + BORDER_COUNTS;
    for (column, borders) in borders.iter().enumerate() {
        put_u16(page, BORDERS_AT + column * size_of::<u16>(), borders.len() as u16);
        for border in borders {
            page[at..at + size_of::<u64>()].copy_from_slice(&border.to_le_bytes());
            at += size_of::<u64>();
        }
    }
    page::set_lower(page, at.max(page::lower(page)));
}

/// Reads the borders of filter columns, which have this hash.
pub fn read_borders(page: &Page, hash: u64) -> Result<Borders> {
    check(page)?;
    let mut borders = Borders::default();
    let mut at = BORDERS_AT + BORDER_COUNTS;
    for (column, borders) in borders.iter_mut().enumerate() {
        let count = usize::from(get_u16(page, BORDERS_AT + column * size_of::<u16>()));
        if count > MOST_BORDERS {
            return corrupted(META_BLOCK, "too many borders of a filter column on the meta page");
        }
        let bytes = page[at..at + count * size_of::<u64>()].as_chunks::<8>().0;
        borders.extend(bytes.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        at += count * size_of::<u64>();
    }
    let is_sound = borders.iter().all(|borders| borders.is_sorted()) && borders_hash(&borders) == hash;
    if !is_sound {
        return corrupted(META_BLOCK, "invalid borders of filter columns on the meta page");
    }
    Ok(borders)
}

/// Offset of the reference to the first extension of a kind's chain.
fn unplaced_at(kind: Unplaced) -> usize {
    UNPLACED_AT + kind as usize * size_of::<u32>()
}

/// First extension of a kind's chain; [`NodeRef::NONE`] if there is no such row.
pub fn read_unplaced(page: &Page, kind: Unplaced) -> Result<NodeRef> {
    check(page)?;
    Ok(NodeRef(get_u32(page, unplaced_at(kind))))
}

/// Sets the first extension of a kind's chain.
pub fn set_unplaced(page: &mut Page, kind: Unplaced, first: NodeRef) {
    put_u32(page, unplaced_at(kind), first.0);
}

/// The decoded meta page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Parameters of the index.
    pub parameters: Parameters,
    /// The file that the index was built in. Two builds of an index have different ones, and a copy
    /// of the index in another file keeps the number.
    pub file: u32,
    /// Start of searches; none while the index is empty.
    pub entry: Option<EntryPoint>,
}

/// The mark of an index that was given up, in place of the version in the special space: no number
/// that damage often leaves.
const GIVEN_UP: u16 = 0xA1DE;

/// Tells a meta page of another format, that of an index that was given up, and one of pgvector
/// from one of ours and from a damaged one: the version is on it twice.
///
/// # Errors
/// [`Error::OtherFormat`], [`Error::GivenUp`], [`Error::BuiltByPgvector`].
pub fn check_format(page: &Page) -> Result<()> {
    let version = u16::try_from(get_u32(page, VERSION_AT)).unwrap_or(0);
    let Some(repeated) = page::version(page, PageKind::Meta) else {
        return match pgvector::is_first_page(page) {
            true => Err(Error::built_by_pgvector()),
            false => Ok(()),
        };
    };
    if get_u32(page, HEADER_SIZE) != MAGIC || version == 0 || ![version, GIVEN_UP].contains(&repeated) {
        return Ok(());
    }
    match (version, repeated) {
        (FORMAT_VERSION, GIVEN_UP) => Err(Error::given_up()),
        (FORMAT_VERSION, _) => Ok(()),
        _ => Err(Error::other_format(version, FORMAT_VERSION)),
    }
}

/// The version of the format of an index, this one's or another's; 0 if the page is damaged.
pub fn version(page: &Page) -> u16 {
    let version = u16::try_from(get_u32(page, VERSION_AT)).unwrap_or(0);
    if get_u32(page, HEADER_SIZE) == MAGIC {
        version
    } else {
        0
    }
}

/// Whether an index was given up.
pub fn is_given_up(page: &Page) -> bool {
    page::version(page, PageKind::Meta) == Some(GIVEN_UP) || pgvector::is_given_up(page)
}

/// Gives an index of another format up: rows will be missing, and no version that reads the format
/// may take it for complete. The write is to a place that all formats have.
pub fn give_up(page: &mut Page) {
    match pgvector::is_first_page(page) {
        true => pgvector::give_up(page),
        false => page::set_version(page, GIVEN_UP),
    }
}

/// Checks that the page is a meta page of this format.
pub(super) fn check(page: &Page) -> Result<()> {
    page::check(page, META_BLOCK, PageKind::Meta, 0).or_else(|error| {
        check_format(page)?;
        Err(error)
    })
}

/// Writes a whole meta page.
pub fn init(page: &mut Page, parameters: &Parameters) -> Result<()> {
    page::init(page, PageKind::Meta, 0);
    put_u32(page, HEADER_SIZE, MAGIC);
    put_u32(page, VERSION_AT, u32::from(FORMAT_VERSION));
    set_entry(page, None);
    for kind in Unplaced::ALL {
        set_unplaced(page, kind, NodeRef::NONE);
    }
    let Ok(length) = bincode::serde::encode_into_slice(
        parameters,
        &mut page[PARAMETERS_AT..COMPACTION_AT - size_of::<u32>()],
        encoding(),
    ) else {
        return corrupted(META_BLOCK, "parameters do not fit the meta page");
    };
    put_u32(page, LENGTH_AT, length as u32);
    // The parameters decide how every byte of the index is read, and damaged ones may still be in
    // range.
    let checksum = checksum(&page[PARAMETERS_AT..PARAMETERS_AT + length]);
    put_u32(page, PARAMETERS_AT + length, checksum);
    set_borders(page, &Borders::default());
    Ok(())
}

/// Stores the result of the last VACUUM.
pub fn set_compaction(page: &mut Page, compaction: &Compaction) -> Result<()> {
    let bytes = &mut page[COMPACTION_AT..COMPACTION_AT + COMPACTION_LEN];
    match bincode::serde::encode_into_slice(compaction, bytes, encoding()) {
        Ok(COMPACTION_LEN) => Ok(()),
        _ => corrupted(META_BLOCK, "the result of VACUUM does not fit the meta page"),
    }
}

/// Reads the result of the last VACUUM.
pub fn read_compaction(page: &Page) -> Result<Compaction> {
    check(page)?;
    let bytes = &page[COMPACTION_AT..COMPACTION_AT + COMPACTION_LEN];
    match bincode::serde::decode_from_slice(bytes, encoding()) {
        Ok((compaction, _)) => Ok(compaction),
        Err(_) => corrupted(META_BLOCK, "invalid result of VACUUM on the meta page"),
    }
}

/// First generation of the slots of new pages.
pub fn read_first_generation(page: &Page) -> Result<u8> {
    check(page)?;
    Ok(page[FIRST_GENERATION_AT])
}

/// Sets the first generation of the slots of new pages.
pub fn set_first_generation(page: &mut Page, generation: u8) {
    page[FIRST_GENERATION_AT] = generation;
}

/// The part of the nodes that was removed since VACUUM last followed all links, in
/// [`UNWALKED_UNIT`]s, each VACUUM's rounded up.
pub fn read_unwalked(page: &Page) -> Result<u8> {
    check(page)?;
    Ok(page[UNWALKED_AT])
}

/// Sets the part of the nodes that was removed since VACUUM last followed all links.
pub fn set_unwalked(page: &mut Page, units: u8) {
    page[UNWALKED_AT] = units;
}

/// Stores the file (PostgreSQL's `relfilenode`) that the index is built in.
pub fn set_file(page: &mut Page, file: u32) {
    put_u32(page, FILE_AT, file);
}

/// Reads only the file that the index was built in.
pub fn read_file(page: &Page) -> Result<u32> {
    check(page)?;
    Ok(get_u32(page, FILE_AT))
}

/// Changes the entry point.
pub fn set_entry(page: &mut Page, entry: Option<EntryPoint>) {
    let (node, generation, level) = match entry {
        Some(entry) => (entry.link.node, entry.link.generation, entry.level),
        None => (NodeRef::NONE, 0, 0),
    };
    put_u32(page, ENTRY_AT, node.0);
    page[ENTRY_AT + 4] = generation;
    page[ENTRY_AT + 5] = level;
}

/// Reads and checks a meta page.
pub fn read(page: &Page) -> Result<Meta> {
    check(page)?;
    if get_u32(page, HEADER_SIZE) != MAGIC || get_u32(page, VERSION_AT) != u32::from(FORMAT_VERSION) {
        return corrupted(META_BLOCK, "invalid magic number or format version on the meta page");
    }
    let length = (get_u32(page, LENGTH_AT) as usize).min(COMPACTION_AT - PARAMETERS_AT - size_of::<u32>());
    let bytes = &page[PARAMETERS_AT..PARAMETERS_AT + length];
    let parameters = match bincode::serde::decode_from_slice::<Parameters, _>(bytes, encoding()) {
        Ok((parameters, used)) if used == length && checksum(bytes) == get_u32(page, PARAMETERS_AT + length) => {
            parameters
        }
        _ => return corrupted(META_BLOCK, "invalid parameters on the meta page"),
    };
    let Shape {
        dimensions,
        m,
        encoding,
        code_bits,
        filters,
    } = parameters.shape;
    let coded = code_bits > 0;
    if !(1..=encoding.most_dimensions() as u32).contains(&dimensions)
        || !(2..=100).contains(&m)
        || !(4..=1000).contains(&parameters.ef_construction)
        || !parameters.element.allows(encoding, parameters.metric)
        || (coded && !encoding.is_dense())
        || (!coded && encoding.width().is_some())
        || (parameters.centroid != 0 && !parameters.allow_centroid())
        || !parameters.has_sound_directions()
        || !usize::from(code_bits).is_multiple_of(WORD_BITS)
        || usize::from(code_bits) > parameters.shape.most_bits()
        || filters != FilterColumns::of(parameters.filter_kinds())
        || !(lists::FEWEST_BITS..=lists::MOST_BITS).contains(&parameters.list_bits)
        || parameters.filters[usize::from(filters.count)..]
            .iter()
            .any(Option::is_some)
        || Layout::of(parameters.shape).is_err()
    {
        return corrupted(META_BLOCK, "parameters on the meta page out of range");
    }
    Ok(Meta {
        parameters,
        file: get_u32(page, FILE_AT),
        entry: read_entry(page)?,
    })
}

/// Reads only the entry point.
pub fn read_entry(page: &Page) -> Result<Option<EntryPoint>> {
    check(page)?;
    if page[ENTRY_AT + 5] > MAX_LEVEL {
        return corrupted(META_BLOCK, "the level of the entry point is out of range");
    }
    let entry = NodeRef(get_u32(page, ENTRY_AT)).some().map(|node| EntryPoint {
        link: Link {
            node,
            generation: page[ENTRY_AT + 4],
        },
        level: page[ENTRY_AT + 5],
    });
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::filter::values::Kind;
    use crate::storage::layout::Encoding;
    use crate::storage::page::PAGE_SIZE;
    use crate::storage::parameters::{Element, Reflections};

    const PARAMETERS: Parameters = Parameters {
        shape: Shape {
            dimensions: 384,
            m: 16,
            encoding: Encoding::Scalar12,
            code_bits: 256,
            filters: FilterColumns { count: 2, sets: 2 },
        },
        element: Element::Vector,
        metric: Metric::Cosine,
        ef_construction: 64,
        seed: 0x1234_5678_9abc_def0,
        centroid: 0x0fed_cba9_8765_4321,
        filters: [Some(Kind::Exact), Some(Kind::Set), None, None],
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    };

    #[test]
    fn borders_are_read_as_they_were_written_and_checked() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        assert_eq!(read_borders(&page, 0), Ok(Borders::default()));
        let of = |column: u64| (0..MOST_BORDERS as u64).map(|i| (i << 32) + column).collect::<Vec<_>>();
        let borders = [of(1), Vec::new(), vec![7], of(3)];
        set_borders(&mut page, &borders);
        let hash = borders_hash(&borders);
        assert_eq!(read_borders(&page, hash), Ok(borders));
        assert!(page::lower(&page) <= page::SPECIAL && read(&page).is_ok());
        assert!(matches!(read_borders(&page, hash + 1), Err(Error::Corrupted { .. })));
        page[BORDERS_AT + 1] = 1;
        assert!(matches!(read_borders(&page, hash), Err(Error::Corrupted { .. })));
    }

    #[test]
    fn the_meta_page_gives_back_what_was_put_in() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        assert_eq!(
            read(&page),
            Ok(Meta {
                parameters: PARAMETERS,
                file: 0,
                entry: None
            })
        );
        let entry = EntryPoint {
            link: Link {
                node: NodeRef(77),
                generation: 3,
            },
            level: 4,
        };
        set_entry(&mut page, Some(entry));
        set_file(&mut page, 16_384);
        assert_eq!(
            read(&page),
            Ok(Meta {
                parameters: PARAMETERS,
                file: 16_384,
                entry: Some(entry)
            })
        );
    }

    #[test]
    fn what_vacuum_did_has_a_place_of_its_own() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        assert_eq!(read_compaction(&page), Ok(Compaction::default()));
        assert_eq!(read_first_generation(&page), Ok(0));
        let before = read(&page);
        let compaction = Compaction {
            finished: -1,
            nodes_removed: 2,
            links_repaired: u64::MAX,
            slots_freed: 4,
            pages_truncated: 5,
            duration: 6,
        };
        set_compaction(&mut page, &compaction).unwrap();
        set_first_generation(&mut page, 255);
        assert_eq!(read_unwalked(&page), Ok(0));
        set_unwalked(&mut page, 254);
        assert_eq!(read_compaction(&page), Ok(compaction));
        assert_eq!(read_first_generation(&page), Ok(255));
        assert_eq!((read_unwalked(&page), page[39]), (Ok(254), 254));
        assert_eq!(read(&page), before);
        assert_eq!(page::lower(&page), BORDERS_AT + BORDER_COUNTS);
        assert_eq!(page[288..296], [5, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_format_on_the_page_does_not_change_unnoticed() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        let mut expected = vec![];
        expected.extend(384u32.to_le_bytes());
        expected.extend(16u16.to_le_bytes());
        expected.extend(1u32.to_le_bytes()); // Encoding::Scalar12
        expected.extend(256u16.to_le_bytes());
        expected.extend([2, 2]); // filter columns, and the second is one of sets
        expected.extend(0u32.to_le_bytes()); // Element::Vector
        expected.extend(2u32.to_le_bytes()); // Metric::Cosine
        expected.extend(64u16.to_le_bytes());
        expected.extend(PARAMETERS.seed.to_le_bytes());
        expected.extend(PARAMETERS.centroid.to_le_bytes());
        expected.extend([0; 12]); // no directions
        // Kind::Exact, Kind::Set
        expected.extend([1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0]);
        expected.extend(PARAMETERS.borders.to_le_bytes());
        expected.push(PARAMETERS.list_bits);
        assert_eq!(page[PARAMETERS_AT..PARAMETERS_AT + expected.len()], expected);
        assert_eq!(get_u32(&page, PARAMETERS_AT + expected.len()), 992_928_520);
        assert_eq!(page::lower(&page), BORDERS_AT + BORDER_COUNTS);
        assert_eq!(page[304..312], [0xFF; 8]);
        set_unplaced(&mut page, Unplaced::Zero, NodeRef(1));
        set_unplaced(&mut page, Unplaced::Null, NodeRef(0x0203_0405));
        assert_eq!(page[304..312], [1, 0, 0, 0, 5, 4, 3, 2]);
        assert_eq!(
            Unplaced::ALL.map(Unplaced::owner),
            [NodeRef(0xFFFF_FFFD), NodeRef(0xFFFF_FFFE)]
        );
    }

    #[test]
    fn chains_of_rows_without_a_place_have_their_own_places_and_names() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        let before = (read(&page), read_compaction(&page));
        for kind in Unplaced::ALL {
            assert_eq!(read_unplaced(&page, kind), Ok(NodeRef::NONE));
            set_unplaced(&mut page, kind, NodeRef(7 + kind as u32));
            assert_eq!(Unplaced::of_owner(kind.owner()), Some(kind));
        }
        assert_eq!(read_unplaced(&page, Unplaced::Zero), Ok(NodeRef(7)));
        assert_eq!(read_unplaced(&page, Unplaced::Null), Ok(NodeRef(8)));
        assert_eq!((read(&page), read_compaction(&page)), before);
        assert_eq!(Unplaced::of_owner(NodeRef::NONE), None);
        assert_eq!(Unplaced::of_owner(NodeRef(0)), None);
    }

    /// Replaces the checksum by that of the parameters as they stand.
    fn seal(page: &mut Page) {
        let end = PARAMETERS_AT + get_u32(page, LENGTH_AT) as usize;
        let checksum = checksum(&page[PARAMETERS_AT..end]);
        put_u32(page, end, checksum);
    }

    #[test]
    fn parameters_that_make_sense_and_are_others_are_refused() {
        let mut good = [0; PAGE_SIZE];
        init(&mut good, &PARAMETERS).unwrap();
        let end = PARAMETERS_AT + get_u32(&good, LENGTH_AT) as usize + size_of::<u32>();
        for at in PARAMETERS_AT..end {
            for bit in 0..8 {
                let mut page = good;
                page[at] ^= 1 << bit;
                assert!(read(&page).is_err(), "bit {bit} of byte {at}");
            }
        }
        let mut other = good;
        put_u32(&mut other, PARAMETERS_AT, 385);
        seal(&mut other);
        assert_eq!(read(&other).unwrap().parameters.shape.dimensions, 385);
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let mut good = [0; PAGE_SIZE];
        init(&mut good, &PARAMETERS).unwrap();
        assert_eq!(check_format(&good), Ok(()));
        for version in [1, FORMAT_VERSION - 1, FORMAT_VERSION + 1, 1000] {
            let mut page = good;
            put_u32(&mut page, VERSION_AT, u32::from(version));
            page::set_version(&mut page, version);
            // The rest of the page is the other format's, and not looked at.
            page[ENTRY_AT..page::SPECIAL].fill(0xAA);
            let other = Error::other_format(version, FORMAT_VERSION);
            assert_eq!(check_format(&page), Err(other.clone()));
            assert_eq!(read(&page), Err(other.clone()));
            assert_eq!(read_entry(&page), Err(other.clone()));
            assert_eq!(read_compaction(&page), Err(other.clone()));
            assert_eq!(read_file(&page), Err(other.clone()));
            assert!(!is_given_up(&page));
            give_up(&mut page);
            assert!(is_given_up(&page));
            assert_eq!(read(&page), Err(other));
        }
        // On one of the two places alone, without the magic number, or under a damaged header it is
        // damage.
        let damages: [fn(&mut Page); 5] = [
            |page| put_u32(page, VERSION_AT, u32::from(FORMAT_VERSION) + 1),
            |page| page::set_version(page, FORMAT_VERSION + 1),
            |page| {
                put_u32(page, VERSION_AT, 7);
                page::set_version(page, 7);
                put_u32(page, HEADER_SIZE, MAGIC + 1);
            },
            |page| {
                put_u32(page, VERSION_AT, 7);
                page::set_version(page, 7);
                page::set_lower(page, HEADER_SIZE - 1);
            },
            |page| page.fill(0),
        ];
        for (i, damage) in damages.iter().enumerate() {
            let mut page = good;
            damage(&mut page);
            assert_eq!(check_format(&page), Ok(()), "damage {i}");
            assert!(matches!(read(&page), Err(Error::Corrupted { .. })), "damage {i}");
        }
    }

    #[test]
    fn an_index_that_was_given_up_is_not_taken_for_complete() {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &PARAMETERS).unwrap();
        assert!(!is_given_up(&page));
        give_up(&mut page);
        assert!(is_given_up(&page));
        assert_eq!(check_format(&page), Err(Error::given_up()));
        assert_eq!(read(&page), Err(Error::given_up()));
        assert_eq!(read_first_generation(&page), Err(Error::given_up()));
        assert_eq!(page::lower(&page), BORDERS_AT + BORDER_COUNTS);
    }

    #[test]
    fn a_damaged_meta_page_is_refused() {
        let mut good = [0; PAGE_SIZE];
        init(&mut good, &PARAMETERS).unwrap();
        for at in (HEADER_SIZE..ENTRY_AT).chain(LENGTH_AT..FILE_AT) {
            let mut page = good;
            page[at] ^= 0x55;
            assert!(read(&page).is_err(), "byte {at}");
        }
        for value in [0, 16_001, u32::MAX] {
            let mut page = good;
            put_u32(&mut page, PARAMETERS_AT, value);
            seal(&mut page);
            assert!(read(&page).is_err(), "{value} dimensions");
        }
        for bits in [0u16, 255, 416, u16::MAX] {
            let mut page = good;
            page[PARAMETERS_AT + 10..PARAMETERS_AT + 12].copy_from_slice(&bits.to_le_bytes());
            seal(&mut page);
            assert!(read(&page).is_err(), "{bits} bits");
        }
        let refused = |parameters: &Parameters, why: &str| {
            let mut page = [0; PAGE_SIZE];
            init(&mut page, parameters).unwrap();
            assert!(read(&page).is_err(), "{why}: {parameters:?}");
        };
        for metric in [Metric::InnerProduct, Metric::L1] {
            refused(&Parameters { metric, ..PARAMETERS }, "a centroid");
        }
        let metric = Metric::Hamming;
        refused(
            &Parameters {
                metric,
                centroid: 0,
                ..PARAMETERS
            },
            "a metric of bits",
        );
        for element in [Element::Bit, Element::Sparsevec] {
            refused(
                &Parameters {
                    element,
                    centroid: 0,
                    ..PARAMETERS
                },
                "codes",
            );
        }
        let element = Element::Halfvec;
        let mut page = [0; PAGE_SIZE];
        init(&mut page, &Parameters { element, ..PARAMETERS }).unwrap();
        assert!(read(&page).is_ok());
    }
}
