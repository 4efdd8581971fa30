//! First pages of pgvector's indexes, which a database has until they are built anew: known by
//! pgvector's magic numbers, so that they are not taken for damage.

use super::page::{PD_SPECIAL, Page, get_u16, get_u32, put_u32};

/// Place of the magic number, behind PostgreSQL's page header.
const MAGIC_AT: usize = 24;
/// pgvector's special space: a block number, two bytes, and the number of the kind of page.
const SPECIAL: usize = 8184;
const KIND_AT: usize = SPECIAL + 6;

/// Magic number and kind of page: of `hnsw` and of `ivfflat`.
const KNOWN: [(u32, u16); 2] = [(0xA953_A953, 0xFF90), (0x014F_F1A7, 0xFF84)];

/// Whether a page is the first one of an index of pgvector, given up or not.
pub fn is_first_page(page: &Page) -> bool {
    known(page).is_some()
}

/// Whether such an index was given up.
pub fn is_given_up(page: &Page) -> bool {
    known(page).is_some_and(|magic| get_u32(page, MAGIC_AT) == !magic)
}

/// Gives such an index up: rows will be missing, and pgvector may not take it for complete, should
/// it read the index again. Its own check of the magic number refuses the index then.
pub fn give_up(page: &mut Page) {
    if let Some(magic) = known(page) {
        put_u32(page, MAGIC_AT, !magic);
    }
}

/// The magic number that a page has or had.
fn known(page: &Page) -> Option<u32> {
    let (magic, kind) = (get_u32(page, MAGIC_AT), get_u16(page, KIND_AT));
    let is_it = |&&(known, of): &&(u32, u16)| [known, !known].contains(&magic) && kind == of;
    let known = KNOWN.iter().find(is_it).map(|&(known, _)| known);
    known.filter(|_| usize::from(get_u16(page, PD_SPECIAL)) == SPECIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::storage::meta;
    use crate::storage::page::{PAGE_SIZE, put_u16};

    #[test]
    fn an_index_of_pgvector_is_known_and_can_be_given_up() {
        for (magic, kind) in KNOWN {
            let mut page = [0; PAGE_SIZE];
            put_u16(&mut page, PD_SPECIAL, SPECIAL as u16);
            put_u32(&mut page, MAGIC_AT, magic);
            assert!(!is_first_page(&page));
            put_u16(&mut page, KIND_AT, kind);
            assert!(is_first_page(&page) && !is_given_up(&page));
            assert_eq!(meta::check_format(&page), Err(Error::built_by_pgvector()));
            assert_eq!(meta::read(&page).map(|_| ()), Err(Error::built_by_pgvector()));
            assert!(!meta::is_given_up(&page));
            meta::give_up(&mut page);
            assert!(meta::is_given_up(&page));
            assert_ne!(get_u32(&page, MAGIC_AT), magic);
            assert_eq!(meta::check_format(&page), Err(Error::built_by_pgvector()));
        }
    }
}
