use super::*;
use crate::distance::Metric;
use crate::storage::layout::FilterColumns;
use crate::storage::layout_plan::Storage;
use crate::storage::node_page::{self, NodePage, NodePageMut};
use crate::storage::page::PAGE_SIZE;

fn tid(n: u32) -> HeapTid {
    HeapTid {
        block: n,
        offset: (n % 200 + 1) as u16,
    }
}

#[test]
fn a_record_gives_back_what_was_put_in() {
    for (coded, filters, sets) in [
        (false, 0, 0),
        (true, 0, 0),
        (false, 2, 0),
        (true, 4, 0),
        (true, 4, 0b0110),
    ] {
        let columns = FilterColumns {
            count: filters as u8,
            sets,
        };
        let layout = Layout::plan(5, 2, if coded { Metric::L2 } else { Metric::L1 }, columns).unwrap();
        let mut page = [0; PAGE_SIZE];
        node_page::init(&mut page, &layout, 0);
        let mut nodes = NodePageMut::new(&mut page, 3, &layout).unwrap();
        let slot = nodes.free_slot().unwrap().unwrap();
        let link = nodes
            .occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE)
            .unwrap();
        let mut record = nodes.record(slot).unwrap();
        let stored: Vec<u8> = (0..20).collect();
        record.set_vector(&stored);
        let mut values = Values::NONE;
        for column in (0..filters).filter(|column| column % 3 != 1) {
            values.set(column, Some(column as u64 * 0x0123_4567_89ab_cdef));
        }
        record.set_values(&values);
        let signatures = |i: usize| {
            let mut signatures = Signatures::default();
            for (column, signature) in signatures.iter_mut().enumerate().take(filters) {
                *signature = (i + column) as u16 % 30 * 2027 + 1;
                if !columns.is_set(column) {
                    *signature >>= 8;
                }
            }
            signatures
        };
        let words = |i: usize| vec![0x0123_4567 << (i % 4); layout.code_words()];
        let factors = |i: usize| Factors {
            offset: Bf16::from_f32(i as f32),
            scale: Bf16::from_f32(-2.0 * i as f32),
            length: layout.length_of(Bf16::from_f32(-2.0 * i as f32)),
        };
        let links: Vec<_> = (0..layout.lanes)
            .map(|i| Link {
                node: NodeRef(100 + i as u32),
                generation: i as u8,
            })
            .collect();
        for (i, &link) in links.iter().enumerate() {
            let words = words(i);
            let code = Code {
                words: &words,
                factors: factors(i),
                signatures: signatures(i),
            };
            assert!(record.push_link(link, code, i % 3 == 0));
        }
        assert!(!record.push_link(links[0], Code::default(), false));
        for n in 0..layout.tids as u32 {
            record.push_tid(tid(n)).unwrap();
        }
        assert!(record.push_tid(tid(11)).is_err());

        let view = NodePage::new(&page, 3, &layout).unwrap();
        let record = view.record(slot).unwrap();
        assert_eq!(record.state(), State::Node);
        assert!(record.is(link.generation, 0) && !record.is(link.generation, 1));
        assert_eq!(record.owner(), link.node);
        assert_eq!(record.vector(), stored);
        assert_eq!(record.values(), values);
        assert_eq!(record.links().collect::<Vec<_>>(), links);
        assert!(record.tids().eq((0..layout.tids as u32).map(tid)));
        for i in (0..links.len()).filter(|_| coded) {
            let mut read = words(0);
            assert_eq!(record.read_code(i, &mut read), factors(i));
            assert_eq!(read, words(i));
            assert_eq!(record.signatures(i), signatures(i));
            for (column, signature) in signatures(i).into_iter().enumerate().take(filters) {
                let all = record.signatures_of(column, i / LANES);
                let (bytes, len) = (signature.to_le_bytes(), 1 + usize::from(columns.is_set(column)));
                assert_eq!(all[len * (i % LANES)..][..len], bytes[..len]);
            }
            let length = factors(i).length.to_f32();
            assert_eq!((record.is_fill(i), record.length(i)), (i % 3 == 0, length));
        }
    }
}

#[test]
fn freeing_a_slot_makes_its_links_stale_and_its_place_free() {
    let layout = Layout::plan(5, 2, Metric::L1, 0).unwrap();
    let mut page = [0; PAGE_SIZE];
    node_page::init(&mut page, &layout, 0);
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
    let layout = Layout::plan(64, 2, Metric::L1, 0).unwrap();
    let mut page = [0; PAGE_SIZE];
    node_page::init(&mut page, &layout, 0);
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
    for layout in [
        Layout::plan(20, 8, Metric::L1, 0),
        Layout::plan(50, 16, Metric::L2, 0),
        Layout::plan(384, 16, Metric::L2, 0),
        Layout::plan(1000, 40, Metric::L2, 0),
        Layout::plan(16_000, 16, Metric::L2, 0),
        Layout::plan(3000, 16, Metric::L1, 0),
        Layout::plan_as(Storage::Compact, 6, 2, Metric::L2, 4),
        Layout::plan_as(Storage::Compact, 384, 16, Metric::InnerProduct, 0),
        Layout::plan_as(Storage::Compact, 100, 40, Metric::L2, 1),
    ] {
        let layout = layout.unwrap();
        let mut words = vec![0; layout.code_words()];
        let mut rng = SmallRng::seed_from_u64(1);
        let mut good = [0; PAGE_SIZE];
        node_page::init(&mut good, &layout, 0);
        let mut nodes = NodePageMut::new(&mut good, 1, &layout).unwrap();
        for slot in 0..layout.slots {
            nodes
                .occupy(slot, State::Node, 0, NodeRef::NONE, NodeRef::NONE)
                .unwrap();
        }
        for _ in 0..5_000 {
            let mut page = good;
            for _ in 0..1 + rng.next_u32() % 40 {
                page[rng.next_u32() as usize % PAGE_SIZE] = rng.next_u32() as u8;
            }
            let Ok(view) = NodePage::new(&page, 1, &layout) else {
                continue;
            };
            for record in view.records().flatten().map(|(_, record)| record) {
                assert_eq!(record.vector().len(), layout.inline_len);
                assert_eq!(record.overflows().count(), layout.overflows);
                for i in (0..record.link_count()).filter(|_| layout.is_coded()) {
                    let Factors { offset, scale, length } = record.read_code(i, &mut words);
                    assert!([offset, scale, length].iter().all(|factor| factor.to_f32().is_finite()));
                }
                // Every block of lanes that a search reads is within the record.
                for block in (0..record.link_count().div_ceil(LANES)).filter(|_| layout.is_coded()) {
                    let (codes, offsets, scales) = record.codes(block);
                    assert_eq!(codes.bytes.len(), Codes::len(layout.code_words(), codes.lanes));
                    assert_eq!([offsets.len(), scales.len()], [2 * LANES; 2]);
                    assert_eq!(record.links_of(block).get(0), record.link(block * LANES));
                    assert!(record.lengths(block).count() <= LANES);
                    for column in 0..layout.filters() {
                        let of_lane = 1 + usize::from(layout.shape.filters.is_set(column));
                        assert_eq!(record.signatures_of(column, block).len(), of_lane * LANES);
                    }
                }
                assert!(record.links().count() <= layout.link_capacity(0));
                assert!(record.tids().count() <= layout.stride);
            }
        }
    }
}
