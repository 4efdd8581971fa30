//! Constants that trade recall for time or space, by the operation that uses them.
//!
//! Each line gives the meaning, the unit, and the place of the measurement behind the value: a name
//! in italics is a paragraph of docs/measurements.md, "(chosen, not measured)" says that no
//! measurement of the value is written down. Sizes of buffers, distances of prefetching, and limits
//! beyond which an index counts as corrupted stay with the code that uses them. How many bits and
//! links a record has is decided in `storage::layout_plan`; build costs in `am`.

/// Best-first search of one level, and the descent to it.
pub mod search {
    /// Most candidates in the beam of a plain search, dead nodes included, and most dead nodes that
    /// widen a coded one, in widths of the search: the bound of the work among dead nodes (chosen,
    /// not measured).
    pub const DEAD_BOUND: usize = 4;

    /// Most records that a walk through dead nodes reads, per live record that it looks for: the
    /// bound of an insert among dead nodes (chosen, not measured).
    pub const WALK_BOUND: usize = 16;

    /// Most records that a coded search visits where squared distances leave the range in which
    /// codes can rank them, in widths of the search (chosen, not measured).
    pub const UNGUIDED_BOUND: usize = 16;

    /// Share of a candidate queue (numerator, denominator) that repeated estimates of visited
    /// records may fill (chosen, not measured). The larger the share, the sooner a search among
    /// records with many links to them ends; the smaller, the more room is left in groups of
    /// records that all lead to each other.
    pub const REPEATED_SHARE: (usize, usize) = (2, 3);

    /// Matching nodes that settle a round of a filtered search, in widths of the search: this
    /// times the power [`SETTLED_POWER`] of their share among the neighbors seen, and at most one
    /// width (docs/measurements.md, *Filtered searches*).
    pub const SETTLED: f64 = 0.7;

    /// See [`SETTLED`].
    pub const SETTLED_POWER: f64 = 0.43;

    /// Least number of matching nodes that settle a round, in widths of the search
    /// (docs/measurements.md, *Filtered searches*).
    pub const LEAST_SETTLED: f64 = 0.25;

    /// Least number of matching nodes that settle a round of any width (docs/measurements.md,
    /// *Filtered searches*).
    pub const FEWEST_SETTLED: usize = 20;

    /// Factor of the number of matching nodes that settle a round after the first, which returns as
    /// many rows as the first: rows that are found later are held back (docs/measurements.md,
    /// *Later rounds*).
    pub const SETTLED_LATER: f64 = 2.0;

    /// Most ways of a round, in the number that the share of matching neighbors leads to expect
    /// before the round is settled: beyond it matching nodes are not where the search is (chosen,
    /// not measured).
    pub const WAYS: f64 = 2.0;

    /// Records of a round after which a search looks whether many nodes match, and their least
    /// share (docs/measurements.md, *Filtered searches*).
    pub const MANY_LOOKED: usize = 24;

    /// See [`MANY_LOOKED`].
    pub const MANY_SEEN: f64 = 0.3;

    /// Least share of matching nodes among those that such a search has visited; chance leaves
    /// nearly all above it where [`MANY_SEEN`] match (chosen, not measured).
    pub const MANY_VISITED: f64 = 0.225;

    /// Nodes by which the queue of such a search grows, for so many visited ones that do not match
    /// (docs/measurements.md, *Filtered searches*).
    pub const WIDER_PER_REFUSED: (usize, usize) = (2, 5);

    /// Share of matching nodes among the neighbors seen below which a search looks whether they are
    /// more frequent elsewhere (chosen, not measured).
    pub const FEW_SEEN: f64 = 0.0625;

    /// Quotient of the share of matching nodes in the index and among the neighbors seen, from
    /// which on the matching nodes are taken to be elsewhere (chosen, not measured).
    pub const LOST: f64 = 4.0;

    /// Nodes of the sample that tells (docs/measurements.md, *Conditions far from the query*).
    pub const SAMPLE: usize = 256;

    /// Nodes from which a search goes on among matching nodes that are far from the query
    /// (docs/measurements.md, *Conditions far from the query*).
    pub const SEEDS: usize = 8;

    /// Factor of the number of matching nodes that settle a round there (docs/measurements.md,
    /// *Conditions far from the query*).
    pub const SETTLED_FAR: f64 = 4.0;

    /// Ratio of the query's distance from the centroid to its distance from a record, from which on
    /// neighbors are estimated from the difference of query and record: there the error of an
    /// estimate from the query's own table reaches that of the code itself (docs/measurements.md,
    /// *Differences near the query*).
    pub const NEAR: f32 = 16.0;

    /// Rank of the result that is compared with the nearest one: clusters of at least so many nodes
    /// count as crowds (docs/measurements.md, *Crowds*).
    pub const RANK: usize = 10;

    /// Ratio of the distance from the query to the distance between two results, from which on the
    /// results are a crowd. No query of text384, sift128 and deep1536 ends in one; clusters whose
    /// distance is four times their width are crowds (docs/measurements.md, *Crowds*).
    pub const APART: f64 = 2.8;

    /// Largest relative difference of the distances of a crowd's nodes from the query, times the
    /// square root of the dimensions, because nearly all of a ball in many dimensions lies across
    /// the direction to the query; by the triangle inequality the difference is at most `1 / APART`
    /// (docs/measurements.md, *Crowds*).
    pub const SPREAD: f64 = 1.0;

    /// Least value of the quotient of [`SPREAD`] and that root, because a cluster has fewer
    /// dimensions than its space (docs/measurements.md, *Crowds*).
    pub const LEAST_SPREAD: f64 = 0.12;
}

/// Rounds and passes of a scan.
pub mod scan {
    /// Ratio (numerator, denominator) of a scan's beam to `ef_search` in a plain index: at an equal
    /// setting the scan finds no less than one of a graph whose nodes have all their links, and
    /// still visits fewer pages (docs/measurements.md, *Full plain records*).
    pub const PLAIN_BEAM: (usize, usize) = (7, 4);

    /// As [`PLAIN_BEAM`], for codes with a bit for every coordinate. A coded search visits fewer
    /// records than it is wide, and ranks them by estimates: at the width of a plain one it would
    /// find less (chosen, not measured). Later rounds keep the ratio: with fewer visits a row more
    /// rows are held back (docs/measurements.md, *Later rounds*).
    pub const WHOLE_CODES_BEAM: (usize, usize) = (9, 2);

    /// As [`WHOLE_CODES_BEAM`], for codes that leave coordinates out: their estimates err more
    /// (chosen, not measured).
    pub const CODED_BEAM: (usize, usize) = (11, 2);

    /// As [`WHOLE_CODES_BEAM`], for compact records: at an equal setting a scan finds about as much
    /// as with full ones (docs/measurements.md, *Compact records*).
    pub const COMPACT_BEAM: (usize, usize) = (10, 1);

    /// Width of the first round for each row that is read of a scan which would go on otherwise
    /// (docs/measurements.md, *Widths of more rows*).
    pub const WIDTH_PER_ROW: f64 = 1.3;

    /// Most of a first round that is wider than asked, as nodes of the index for each unit of the
    /// width, and as a width: a search that wide costs about as much as a pass, which misses
    /// nothing, and to put estimates in order costs what grows with the square of their number
    /// (docs/measurements.md, *Widths of more rows*).
    pub const NODES_PER_ROW: f64 = 8.0;

    /// See [`NODES_PER_ROW`].
    pub const MOST_WIDENED: f64 = 4000.0;

    /// Divisor of the number of nodes met before a round: the quotient is the least number of nodes
    /// that the round returns, so that a scan of everything takes time in proportion (chosen, not
    /// measured).
    pub const ROUND_SHARE: usize = 16;

    /// Divisor of a round's live nodes: the scan is past its radius when no more than the quotient
    /// lie within it (chosen, not measured).
    pub const WITHIN_RADIUS: usize = 2;

    /// Most records that rounds visit before passes take over, where [`FEWEST_VISITED`] gives no
    /// more (chosen, not measured).
    pub const MOST_VISITED: usize = 20_000;

    /// Share of a pass's cost that rounds may spend where it is more than [`MOST_VISITED`]
    /// (docs/measurements.md, *What a pass costs*).
    pub const FEWEST_VISITED: f64 = 0.25;

    /// Cost of a page to a pass, in visits of a round (docs/measurements.md, *What a pass costs*).
    pub const VISITS_PER_PAGE: f64 = 0.3;

    /// Cost of a record to a pass, in visits of a round, besides that of its page
    /// (docs/measurements.md, *What a pass costs*).
    pub const VISITS_PER_RECORD: f64 = 0.15;

    /// Cost of a node that a value list names, in visits of a search (docs/measurements.md,
    /// *Filtered searches*).
    pub const VISITS_PER_LISTED: f64 = 0.15;

    /// Cost of an entry of a value list whose code is estimated, in visits of a search
    /// (docs/measurements.md, *Codes in value lists*).
    pub const VISITS_PER_ESTIMATE: f64 = 0.008;

    /// Cost of the nodes that are read of value lists with codes, in visits of a search
    /// (docs/measurements.md, *Codes in value lists*).
    pub const VISITS_OF_LISTED: f64 = 30.0;

    /// Deviations of the error of an estimate by which a node of a value list may be nearer, where
    /// lists name [`MANY_LISTED`] nodes or more and `ef_search` is at most [`USUAL_WIDTH`], and
    /// those that are added for a tenth of these nodes; they grow with the fourth root of that
    /// setting (docs/measurements.md, *Codes in value lists*).
    pub const DEVIATIONS: (f64, f64) = (1.25, 0.75);

    /// See [`DEVIATIONS`].
    pub const MANY_LISTED: f64 = 10_000.0;

    /// Number of nodes below which no more deviations are added: as few are all read.
    pub const FEW_LISTED: f64 = 100.0;

    /// See [`DEVIATIONS`].
    pub const USUAL_WIDTH: f64 = 40.0;

    /// Nodes that are read of value lists with codes before a scan compares the cost of the others
    /// with a search's (docs/measurements.md, *Codes in value lists*).
    pub const READ_FIRST: usize = 64;

    /// Quotient of the number of nodes that lists are expected to name, and of the most that may be
    /// named, up to which lists are read: the expectation errs (chosen, not measured).
    pub const MANY: f64 = 1.1;

    /// Nodes of value lists that are kept at first, in units of `ef_search`, and the least number:
    /// some times as many as most scans read (docs/measurements.md, *Codes in value lists*).
    pub const KEPT: usize = 25;

    /// See [`KEPT`].
    pub const FEWEST_KEPT: usize = 500;

    /// Share of matching nodes among the neighbors of the nearest of these from which on a search
    /// is tried, and the divisor of its width that gives the ways after which it may end again
    /// (docs/measurements.md, *Codes in value lists*).
    pub const CLUSTERED: f64 = 0.25;

    /// See [`CLUSTERED`].
    pub const FIRST_LOOK: usize = 4;

    /// Most visits that lists may cost, in widths of the search, that are read before a search has
    /// found how many nodes match around the query (docs/measurements.md, *Conditions far from the
    /// query*).
    pub const LISTED_AT_ONCE: f64 = 2.0;

    /// Elements of an array that a scan reckons with (chosen, not measured).
    pub const USUAL_ELEMENTS: f64 = 3.0;

    /// Most visits that lists may cost, in widths of the search, where matching nodes are far from
    /// the query: a search finds fewer of them in about the same time (docs/measurements.md,
    /// *Conditions far from the query*).
    pub const LISTED_FAR: f64 = 15.0;

    /// Visits of a filtered search per unit of its width, and the power of the share of matching
    /// nodes that they grow with (docs/measurements.md, *Filtered searches*).
    pub const FILTERED_VISITS: (f64, f64) = (0.59, -0.49);

    /// Visits per unit of the width, times the share, where the share is so small that the number
    /// of matching nodes that settle a round falls no more (docs/measurements.md, *Filtered
    /// searches*).
    pub const VISITS_OF_FEW: f64 = 0.16;

    /// Growth of the number of nodes of a pass that are sorted at once; the first chunk is as large
    /// as the search is wide (chosen, not measured).
    pub const CHUNK_GROWTH: usize = 4;

    /// Divisor of a pass's memory: the quotient keeps nodes nearer than the last one returned, of
    /// which there are few; where they do not fit, another pass reads them (chosen, not measured).
    pub const HELD_BACK_SHARE: usize = 8;
}

/// Inserts.
pub mod insert {
    use crate::storage::BlockNumber;

    /// Width of a coded search for neighbors, in units of `ef_construction`. Estimates miss some
    /// neighbors, which the greater width makes up for; a still wider search finds more at a price
    /// in time (docs/measurements.md, *What bounds the graph*).
    pub const CODED_WIDTH: usize = 2;

    /// As [`CODED_WIDTH`], in an index of compact records: codes that err more miss more, and half
    /// as many links have to be better ones (docs/measurements.md, *Compact records*).
    pub const COMPACT_WIDTH: usize = 4;

    /// Width of the search for a node that is known to exist and that a search of ordinary width
    /// missed, in widths of the ordinary search (chosen, not measured).
    pub const KNOWN_WIDTH: usize = 16;

    /// Least number of neighbors, fills included, that link back to a new node of a coded index: in
    /// data with hubs only hubs survive, and few links from hubs are soon replaced
    /// (docs/measurements.md, *Fills*).
    pub const FEWEST_LINKS_BACK: usize = 8;

    /// Size of a small graph at most, in pages of records: nodes of a small graph select again
    /// after an insert, and a batch defers no link back in one (chosen, not measured).
    pub const SMALL: BlockNumber = 16;

    /// Divisor of the number of pages: a graph that has grown by more than the quotient since a
    /// search has nodes that the search did not see, for which nodes select again, and a batch
    /// makes its deferred links (chosen, not measured; docs/measurements.md, *What a batch saves*,
    /// has the effect of deferring).
    pub const UNSEEN_PART: BlockNumber = 8;
}

/// Selection of neighbors, and links back.
pub mod neighbors {
    /// Ratio of the distances of a candidate and of a survivor from the selecting node, from which
    /// on the survivor does not exclude the candidate: otherwise no link that leads out of a
    /// cluster would survive (chosen, not measured).
    pub const FAR: f64 = 8.0;

    /// Share of the lanes (numerator, denominator) that a full plain record fills when it selects
    /// anew: the next links find room, and one reading of all neighbors serves several links
    /// (docs/measurements.md, *Full plain records*).
    pub const CHOSEN_ANEW: (usize, usize) = (3, 4);

    /// Number of selections for a record that others keep changing, before its new link is given up
    /// (chosen, not measured).
    pub const RETRIES: usize = 8;
}

/// Repair of records that lose links to dead nodes, and of unreachable nodes.
pub mod vacuum {
    /// Number of neighbors of each dead survivor among which a coded record selects: the nearest to
    /// the dead one (docs/measurements.md, *Repair*).
    pub const REPAIR_CANDIDATES: usize = 24;

    /// Divisor of a plain record's links: a record that loses the quotient or more also searches
    /// for neighbors, because neighbors of the dead nodes are not enough (docs/measurements.md,
    /// *Full plain records*).
    pub const REPAIR_SEARCH_PART: usize = 3;

    /// Ratio of the nodes that a VACUUM removes to the nodes that it leaves, from which on the
    /// nodes that are left select anew: their searches are a part of the removal's work
    /// (docs/measurements.md, *Few left*).
    pub const MOSTLY_DEAD: u64 = 8;

    /// Divisor of the number of nodes: VACUUM follows all links once more nodes than the quotient
    /// were removed since it last did, because following all takes longer than a small removal
    /// (docs/measurements.md, *VACUUM of a small part*).
    pub const WALK_AFTER: u64 = 16;

    /// Most links that an unreachable node gets where reachable nodes have room: other nodes that
    /// are hard to reach have as few (chosen, not measured).
    pub const REACHABILITY_LINKS: usize = 4;
}
