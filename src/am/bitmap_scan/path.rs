//! The planner's part: paths of the node, and the plan of a path.

use std::ptr::{self, addr_of_mut};

use pgrx::pg_sys::{self, NodeTag};
use pgrx::{PgList, is_a, pg_guard};

use super::{Methods, SCAN_METHODS};
use crate::am::bitmap_node::{Children, NAME, Private};
use crate::am::{cost, options};

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan),
    ReparameterizeCustomPathByChild: None,
});

/// The hook that was installed before.
static mut NEXT: pg_sys::set_rel_pathlist_hook_type = None;

/// Installs the hook.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread, and the hook is a variable of
    // the server.
    unsafe {
        NEXT = pg_sys::set_rel_pathlist_hook;
        pg_sys::set_rel_pathlist_hook = Some(add_paths);
    }
}

/// Not guarded: an error of another hook passes through as it is, over a frame that has nothing to
/// drop.
unsafe extern "C-unwind" fn add_paths(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    number: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: PostgreSQL passes a table of the query with all of its own paths.
    unsafe {
        if let Some(next) = NEXT {
            next(root, table, number, entry);
        }
        add(root, table, entry);
    }
}

/// Adds a path for each pair of a path of ours in order and a bitmap.
///
/// # Safety
/// `root` is the planner's state; the table has all of PostgreSQL's paths.
#[pg_guard]
unsafe extern "C-unwind" fn add(
    root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: as the caller promises; nodes are read by their tags, settings in a backend's only
    // thread.
    unsafe {
        let is_allowed = options::bitmap_filter() && pg_sys::enable_indexscan && pg_sys::enable_bitmapscan;
        if !is_allowed
            || (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION
            || (*table).baserestrictinfo.is_null()
            || !(*table).lateral_relids.is_null()
        {
            return;
        }
        // PostgreSQL may free the paths of the list when others are added, except index paths.
        let paths: Vec<*mut pg_sys::Path> = PgList::from_pg((*table).pathlist).iter_ptr().collect();
        let ordered: Vec<_> = paths.iter().filter_map(|path| ordered(*path)).collect();
        if ordered.is_empty() {
            return;
        }
        let bitmaps: Vec<_> = paths.iter().filter_map(|path| bitmap(*path)).collect();
        for bitmap in bitmaps {
            let bitmap = pg_sys::create_bitmap_heap_path(root, table, bitmap, ptr::null_mut(), 1.0, 0);
            for index in &ordered {
                if let Some(costs) = cost::with_bitmap(root, *index, bitmap) {
                    pg_sys::add_path(table, path(table, *index, bitmap, costs).cast());
                }
            }
        }
    }
}

/// A path over one of our indexes that has an order.
unsafe fn ordered(path: *mut pg_sys::Path) -> Option<*mut pg_sys::IndexPath> {
    // SAFETY: the caller has a path of a table.
    unsafe {
        let index = path.cast::<pg_sys::IndexPath>();
        let is_ordered = is_a(path.cast(), NodeTag::T_IndexPath)
            && (*path).pathtype == NodeTag::T_IndexScan
            && (*path).param_info.is_null()
            && !(*path).pathkeys.is_null()
            && !(*index).indexorderbys.is_null()
            && (*(*index).indexorderbys).length == 1
            && cost::is_ours(&*(*index).indexinfo);
        is_ordered.then_some(index)
    }
}

/// The bitmap of a path: that of a bitmap scan, or the bitmap of an index scan with conditions.
unsafe fn bitmap(path: *mut pg_sys::Path) -> Option<*mut pg_sys::Path> {
    // SAFETY: the caller has a path of a table; nodes are read by their tags.
    unsafe {
        if !(*path).param_info.is_null() {
            return None;
        }
        match (*path.cast::<pg_sys::Node>()).type_ {
            NodeTag::T_BitmapHeapPath => Some((*path.cast::<pg_sys::BitmapHeapPath>()).bitmapqual),
            NodeTag::T_IndexPath => {
                let index = &*path.cast::<pg_sys::IndexPath>();
                let has_bitmap =
                    (*index.indexinfo).amhasgetbitmap && !index.indexclauses.is_null() && index.indexorderbys.is_null();
                has_bitmap.then_some(path)
            }
            _ => None,
        }
    }
}

/// The path of one of our indexes and a bitmap.
///
/// # Safety
/// All belong to the table.
unsafe fn path(
    table: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexPath,
    bitmap: *mut pg_sys::BitmapHeapPath,
    costs: cost::BitmapCosts,
) -> *mut pg_sys::CustomPath {
    // SAFETY: as the caller promises; the node is complete before anybody sees it.
    unsafe {
        let mut paths = PgList::<pg_sys::Path>::new();
        paths.push(bitmap.cast());
        paths.push(index.cast());
        let node = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
        let path = &mut *addr_of_mut!((*node).path);
        path.type_ = NodeTag::T_CustomPath;
        path.pathtype = NodeTag::T_CustomScan;
        path.parent = table;
        path.pathtarget = (*table).reltarget;
        path.parallel_safe = (*table).consider_parallel;
        path.rows = (*table).rows;
        path.startup_cost = costs.startup;
        path.total_cost = costs.total;
        path.pathkeys = (*index).path.pathkeys;
        (*node).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*node).custom_paths = paths.into_pg();
        let blocks = f64::from((*table).pages).max(1.0);
        let private = Private {
            exact_rows: costs.exact_rows as i32,
            rows_of_block: ((*table).tuples / blocks).ceil() as i32,
        };
        (*node).custom_private = private.list();
        (*node).methods = &raw const PATH_METHODS.0;
        node
    }
}

/// The plan of a path, with the plans of its bitmap scan and its index scan.
#[pg_guard]
unsafe extern "C-unwind" fn plan(
    _root: *mut pg_sys::PlannerInfo,
    table: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    columns: *mut pg_sys::List,
    conditions: *mut pg_sys::List,
    plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: PostgreSQL passes a path of ours, and the plans of its paths in their order. Each may
    // be below a node that tests conditions without columns; PostgreSQL puts another above ours.
    unsafe {
        let plans = PgList::<pg_sys::Plan>::from_pg(plans);
        let plan = |i| {
            let plan: *mut pg_sys::Plan = plans.get_ptr(i).unwrap_or(ptr::null_mut());
            match is_a(plan.cast(), NodeTag::T_Result) {
                true => (*plan).lefttree,
                false => plan,
            }
        };
        let (bitmap, index) = ((*plan(0)).lefttree, plan(1));
        // The node itself tests the conditions and computes the columns.
        (*index).qual = ptr::null_mut();
        (*index).targetlist = ptr::null_mut();
        let children = Children {
            bitmap,
            index: index.cast(),
        };
        let node = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        let scan = &mut *addr_of_mut!((*node).scan);
        scan.plan.type_ = NodeTag::T_CustomScan;
        scan.plan.targetlist = columns;
        scan.plan.qual = pg_sys::extract_actual_clauses(conditions, false);
        scan.scanrelid = (*table).relid;
        (*node).flags = (*path).flags;
        (*node).custom_plans = children.list();
        (*node).custom_private = (*path).custom_private;
        (*node).methods = &raw const SCAN_METHODS.0;
        node.cast()
    }
}
