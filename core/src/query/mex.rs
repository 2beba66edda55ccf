//! The GraphQL operations of WhatsApp Web, which are named by number on the wire. The numbers change with releases of
//! WhatsApp Web; the table is generated data (`mex_table.rs`).

use super::mex_table::OPERATIONS;

/// Whether an operation only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MexKind {
    /// It reads.
    Query,
    /// It changes something.
    Mutation,
}

/// An operation of WhatsApp Web.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MexOperation {
    /// Its name.
    pub name: &'static str,
    /// What stands for it on the wire (`query_id`): digits, but for a few operations its name.
    pub doc_id: &'static str,
    /// Whether it only reads.
    pub kind: MexKind,
}

/// All known operations, sorted by name.
pub fn all() -> &'static [MexOperation] {
    &OPERATIONS
}

/// The operation of that name.
pub fn find(name: &str) -> Option<&'static MexOperation> {
    OPERATIONS.binary_search_by(|operation| operation.name.cmp(name)).ok().map(|place| &OPERATIONS[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        for operation in all() {
            assert_eq!(find(operation.name), Some(operation));
            assert!(!operation.doc_id.is_empty());
        }
        assert_eq!(find("NoSuchQuery"), None);
    }

    #[test]
    fn a_newsletter_is_fetched() {
        assert_eq!(find("WAWebMexFetchNewsletterJobQuery").unwrap().kind, MexKind::Query);
        assert_eq!(find("WAWebMexJoinNewsletterJobMutation").unwrap().kind, MexKind::Mutation);
    }
}
