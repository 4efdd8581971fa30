use super::*;
use crate::distance::Metric;
use crate::storage::layout_plan::Storage;

/// Layouts of many shapes, and those of vectors of 12 bits a coordinate with 10 as well.
fn plans() -> impl Iterator<Item = Layout> {
    let of_ten = |layout: Layout| {
        Layout::of(Shape {
            encoding: Encoding::Scalar10,
            ..layout.shape
        })
        .unwrap()
    };
    let dimensions = (1..200)
        .step_by(7)
        .chain((200..5000).step_by(97))
        .chain([8000, 15_999, 16_000]);
    dimensions
        .flat_map(|dimensions| {
            [2, 8, 16, 40, 100].into_iter().flat_map(move |m| {
                [Metric::L1, Metric::L2, Metric::InnerProduct]
                    .map(|metric| Layout::plan(dimensions, m, metric, 0).unwrap())
            })
        })
        .flat_map(move |layout| {
            let ten = (layout.shape.encoding == Encoding::Scalar12).then(|| of_ten(layout));
            std::iter::once(layout).chain(ten)
        })
        .chain(compact_plans())
}

/// Compact layouts of many shapes.
fn compact_plans() -> impl Iterator<Item = Layout> {
    let dimensions = (1..200)
        .step_by(7)
        .chain([200, 384, 784, 1536, 4096, 7700, 8000, 16_000]);
    dimensions.flat_map(|dimensions| {
        [2, 8, 16, 24, 40, 100].into_iter().flat_map(move |m| {
            [
                (Metric::L1, 0),
                (Metric::L2, 0),
                (Metric::L2, 4),
                (Metric::InnerProduct, 1),
            ]
            .map(|(metric, filters)| Layout::plan_as(Storage::Compact, dimensions, m, metric, filters).unwrap())
        })
    })
}

#[test]
fn every_vector_of_up_to_16000_dimensions_has_a_layout() {
    for layout in plans() {
        assert!(layout.slots >= 1);
        assert!(layout.offset(layout.slots - 1) + layout.stride <= SPECIAL);
        assert!(layout.tids_at + layout.tids * HeapTid::SIZE <= layout.stride);
        assert!((FEWEST_TIDS..=TIDS).contains(&layout.tids));
        let halves = match (layout.is_coded(), layout.shape.is_compact()) {
            (false, _) => 4,
            (true, false) => 3,
            (true, true) => 2,
        };
        assert!(2 * layout.lanes >= halves * usize::from(layout.shape.m));
        let in_overflows: usize = (0..layout.overflows)
            .map(|i| layout.overflow_range(i, layout.vector_len).len())
            .sum();
        assert_eq!(layout.inline_len + in_overflows, layout.vector_len);
        assert!(
            (0..layout.overflows).all(|i| !layout.overflow_range(i, layout.vector_len).is_empty()
                && BODY + layout.overflow_range(i, layout.vector_len).len() <= layout.stride)
        );
        assert_eq!(Layout::of(layout.shape), Ok(layout));
    }
    let maximum = Encoding::Float32.most_dimensions();
    assert_eq!(
        Layout::plan(maximum + 1, 16, Metric::L2, 0),
        Err(Error::too_many_dimensions(maximum))
    );
}

#[test]
fn codes_are_no_longer_than_what_they_describe() {
    for layout in plans().filter(Layout::is_coded) {
        let bits = usize::from(layout.shape.code_bits);
        assert!(bits.is_multiple_of(WORD_BITS) && bits <= layout.shape.coordinates());
        let group = if layout.lanes < LANES { 8 } else { LANES };
        assert!(layout.lanes.is_multiple_of(group));
    }
}

#[test]
fn common_models_have_codes_that_are_long_enough_and_no_overflows() {
    for (dimensions, slots, bits) in [
        (8, 16, 64),
        (16, 15, 64),
        (50, 10, 96),
        (65, 9, 128),
        (128, 9, 128),
        (256, 5, 256),
        (384, 4, 384),
        (768, 4, 256),
        (784, 4, 256),
        (1024, 3, 384),
        (1536, 2, 608),
        (3072, 1, 1344),
        (4096, 1, 896),
    ] {
        let layout = Layout::plan(dimensions, 16, Metric::L2, 0).unwrap();
        let plan = (layout.slots, usize::from(layout.shape.code_bits), layout.overflows);
        assert_eq!(plan, (slots, bits, 0), "{dimensions} dimensions");
    }
}

#[test]
fn compact_records_of_common_models_are_small() {
    for (dimensions, slots, bits) in [
        (50, 21, 64),
        (128, 18, 64),
        (256, 11, 128),
        (384, 9, 160),
        (768, 6, 192),
        (784, 6, 160),
        (1024, 5, 192),
        (1536, 4, 128),
        (3072, 2, 384),
    ] {
        let layout = Layout::plan_as(Storage::Compact, dimensions, 16, Metric::L2, 0).unwrap();
        let plan = (layout.slots, usize::from(layout.shape.code_bits), layout.overflows);
        assert_eq!(plan, (slots, bits, 0), "{dimensions} dimensions");
        assert!(layout.shape.is_compact());
    }
    // A plain index has no codes to shorten.
    for (dimensions, metric) in [(3, Metric::L2), (384, Metric::L1)] {
        assert_eq!(
            Layout::plan_as(Storage::Compact, dimensions, 16, metric, 0),
            Layout::plan(dimensions, 16, metric, 0)
        );
    }
}

#[test]
fn references_name_blocks_and_slots_and_do_not_wrap() {
    let layout = Layout::plan(8, 4, Metric::L1, 0).unwrap();
    for (block, slot) in [(1, 0), (1, layout.slots - 1), (77, 3)] {
        let node = layout.node(block, slot).unwrap();
        assert_eq!((layout.block(node), layout.slot(node)), (block, slot));
    }
    assert_eq!(layout.node(u32::MAX / layout.slots + 1, 0), Err(Error::IndexFull));
    // The last ones name chains of rows without a place, and nothing.
    let layout = Layout::plan(8000, 16, Metric::L2, 0).unwrap();
    assert_eq!(layout.slots, 1);
    assert_eq!(layout.node(0xFFFF_FFFC, 0), Ok(NodeRef(0xFFFF_FFFC)));
    for block in [0xFFFF_FFFD, 0xFFFF_FFFE, 0xFFFF_FFFF] {
        assert_eq!(layout.node(block, 0), Err(Error::IndexFull));
    }
}

#[test]
fn two_filter_columns_take_no_record_of_a_page() {
    for dimensions in [128, 384] {
        let plan = |filters| Layout::plan(dimensions, 16, Metric::L2, filters).unwrap();
        assert_eq!(plan(2).slots, plan(0).slots, "{dimensions}");
        let bits = plan(2).shape.code_bits + WORD_BITS as u16;
        assert!(bits >= plan(0).shape.code_bits, "{dimensions}: {bits}");
    }
}
