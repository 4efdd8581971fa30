use super::*;
use crate::storage::page::PAGE_SIZE;

fn tid(n: u32) -> HeapTid {
    HeapTid {
        block: n,
        offset: (n % 200 + 1) as u16,
    }
}

#[test]
fn a_layout_fits_its_page_for_every_m_and_dimension() {
    for m in 2..=100 {
        for dimensions in (1..=1750).step_by(7) {
            let layout = Layout::plan(dimensions, m).unwrap();
            assert!(layout.slots >= 1);
            assert!(layout.offset(layout.slots - 1) + layout.stride <= SPECIAL);
            assert!(layout.tids_at + layout.tids * HeapTid::SIZE <= layout.stride);
            assert!(layout.tids >= 1);
        }
    }
}

#[test]
fn the_largest_dimension_is_the_one_named_in_the_error() {
    for m in [2, 16, 100] {
        let Err(Error::TooManyDimensionsForIndex { maximum }) = Layout::plan(16_000, m) else {
            panic!("must not fit")
        };
        assert!(Layout::plan(maximum, m).is_ok());
        assert_eq!(
            Layout::plan(maximum + 1, m),
            Err(Error::TooManyDimensionsForIndex { maximum })
        );
    }
}

#[test]
fn references_name_blocks_and_slots_and_do_not_wrap() {
    let layout = Layout::plan(8, 4).unwrap();
    for (block, slot) in [(1, 0), (1, layout.slots - 1), (77, 3)] {
        let node = layout.node(block, slot).unwrap();
        assert_eq!((layout.block(node), layout.slot(node)), (block, slot));
    }
    assert_eq!(layout.node(u32::MAX / layout.slots + 1, 0), Err(Error::IndexFull));
}

#[test]
fn a_record_gives_back_what_was_put_in() {
    let layout = Layout::plan(5, 2).unwrap();
    let mut page = [0; PAGE_SIZE];
    let mut nodes = NodePageMut::new(&mut page, 3, &layout).unwrap();
    let slot = nodes.free_slot().unwrap().unwrap();
    let link = nodes
        .occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE)
        .unwrap();
    let mut record = nodes.record(slot).unwrap();
    let vector = [1.0, -2.5, f32::MIN_POSITIVE, 3e38, 0.0];
    record.set_vector(&vector);
    let links: Vec<_> = (0..4)
        .map(|i| Link {
            node: NodeRef(100 + i),
            generation: i as u8,
        })
        .collect();
    record.set_links(&links[..3]);
    assert!(record.push_link(links[3]));
    assert!(!record.push_link(links[0]));
    for n in 0..10 {
        record.push_tid(tid(n)).unwrap();
    }
    assert!(record.push_tid(tid(11)).is_err());

    let view = NodePage::new(&page, 3, &layout).unwrap();
    let record = view.record(slot).unwrap();
    assert_eq!(record.state(), State::Node);
    assert!(record.is(link.generation, 0) && !record.is(link.generation, 1));
    assert_eq!(record.owner(), link.node);
    let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_ne_bytes()).collect();
    assert_eq!(record.vector(), bytes);
    assert_eq!(record.links().collect::<Vec<_>>(), links);
    assert_eq!(record.tids().collect::<Vec<_>>(), (0..10).map(tid).collect::<Vec<_>>());
}

#[test]
fn freeing_a_slot_makes_its_links_stale_and_its_place_free() {
    let layout = Layout::plan(5, 2).unwrap();
    let mut page = [0; PAGE_SIZE];
    let mut nodes = NodePageMut::new(&mut page, 1, &layout).unwrap();
    let mut taken = vec![];
    while let Some(slot) = nodes.free_slot().unwrap() {
        taken.push(
            nodes
                .occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE)
                .unwrap(),
        );
    }
    assert_eq!(taken.len(), layout.slots as usize);
    let old = taken[4];
    nodes.free(layout.slot(old.node)).unwrap();
    assert_eq!(nodes.free_slot().unwrap(), Some(4));
    let new = nodes.occupy(4, State::Node, 0, NodeRef::NONE, NodeRef::NONE).unwrap();
    assert_eq!(new.node, old.node);
    let view = nodes.view();
    let record = view.record(4).unwrap();
    assert!(record.is(new.generation, 0) && !record.is(old.generation, 0));
}

#[test]
fn retained_tids_keep_their_order() {
    let layout = Layout::plan(64, 2).unwrap();
    let mut page = [0; PAGE_SIZE];
    let mut nodes = NodePageMut::new(&mut page, 1, &layout).unwrap();
    nodes.occupy(0, State::Extension, 0, NodeRef(9), NodeRef::NONE).unwrap();
    let mut record = nodes.record(0).unwrap();
    let mut count = 0;
    while record.view().has_room_for_tid() {
        record.push_tid(tid(count)).unwrap();
        count += 1;
    }
    assert!(count > 40);
    let removed = record.retain_tids(|t| t.block % 3 == 0);
    let left: Vec<_> = (0..count).filter(|n| n % 3 == 0).map(tid).collect();
    assert_eq!(removed, count as usize - left.len());
    assert_eq!(record.view().tids().collect::<Vec<_>>(), left);
}

#[test]
fn random_bytes_are_refused_or_read_within_bounds() {
    use rand::{RngCore, SeedableRng, rngs::SmallRng};
    let layout = Layout::plan(20, 8).unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut good = [0; PAGE_SIZE];
    let mut nodes = NodePageMut::new(&mut good, 1, &layout).unwrap();
    for slot in 0..layout.slots {
        nodes
            .occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE)
            .unwrap();
    }
    for _ in 0..20_000 {
        let mut page = good;
        for _ in 0..1 + rng.next_u32() % 40 {
            page[rng.next_u32() as usize % PAGE_SIZE] = rng.next_u32() as u8;
        }
        let Ok(view) = NodePage::new(&page, 1, &layout) else {
            continue;
        };
        for record in view.records().flatten().map(|(_, record)| record) {
            assert_eq!(record.vector().len(), 4 * layout.dimensions);
            assert!(record.links().count() <= layout.link_capacity(0));
            assert!(record.tids().count() <= layout.stride);
        }
    }
}
