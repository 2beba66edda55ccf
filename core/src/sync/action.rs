//! What is known about each kind of app-state action: where it lives, which version is written, how its index looks.
//! The table is generated data (`action_table.rs`).

use super::action_table::ACTIONS;

/// A collection of app state. The order is that in which collections are synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Push name, locale, security.
    CriticalBlock,
    /// Contacts.
    CriticalUnblockLow,
    /// Labels, quick replies, the call log, settings.
    Regular,
    /// Mutes, stars, deletions.
    RegularHigh,
    /// Pins, archive, read marks, locks, stickers.
    RegularLow,
}

impl Collection {
    /// All of them, in the order in which they are synchronised.
    pub const ALL: [Self; 5] =
        [Self::CriticalBlock, Self::CriticalUnblockLow, Self::Regular, Self::RegularHigh, Self::RegularLow];

    /// Its name on the wire, which also goes into MACs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CriticalBlock => "critical_block",
            Self::CriticalUnblockLow => "critical_unblock_low",
            Self::Regular => "regular",
            Self::RegularHigh => "regular_high",
            Self::RegularLow => "regular_low",
        }
    }

    /// The collection of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.name() == name)
    }
}

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The account as a whole, or something else that is not a chat.
    Account,
    /// A chat.
    Chat,
    /// The messages of a chat up to a point in time.
    ChatMessageRange,
    /// A chat or a contact.
    ChatOrContact,
    /// One message.
    Message,
}

/// One element of an action's index, which is an array of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexPart {
    /// Always this text. The first element is the action's name.
    Literal(&'static str),
    /// Free text with this meaning.
    Text(&'static str),
    /// A JID with this meaning.
    Jid(&'static str),
    /// A JID with this meaning, or `0` if there is none.
    JidOrZero(&'static str),
    /// `0` or `1`.
    Bool(&'static str),
    /// A value of an enumeration.
    Enum(&'static str),
}

/// The field of `SyncActionValue` that carries an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// Its name, as in Rust.
    pub field: &'static str,
    /// Its number.
    pub number: u32,
}

/// A kind of app-state action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action {
    /// The first element of its index.
    pub name: &'static str,
    /// Where it lives.
    pub collection: Collection,
    /// The version that is written; reading takes any.
    pub version: i32,
    /// What it is about.
    pub scope: Scope,
    /// Where its value is. None if WhatsApp Web knows the name but no value.
    pub value: Option<Value>,
    /// The elements of its index, the name included.
    pub index: &'static [IndexPart],
}

/// All known actions, sorted by name.
pub fn all() -> &'static [Action] {
    &ACTIONS
}

/// The action of that name. Unknown names are normal: other builds of WhatsApp know others.
pub fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.binary_search_by(|action| action.name.cmp(name)).ok().map(|place| &ACTIONS[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_name() {
        for action in all() {
            assert_eq!(find(action.name), Some(action));
            assert_eq!(action.index.first(), Some(&IndexPart::Literal(action.name)));
        }
        assert_eq!(find("no_such_action"), None);
    }

    #[test]
    fn mute() {
        let mute = find("mute").unwrap();
        assert_eq!((mute.collection, mute.version, mute.scope), (Collection::RegularHigh, 2, Scope::Chat));
        assert_eq!(mute.value, Some(Value { field: "mute_action", number: 4 }));
        assert_eq!(mute.index, [IndexPart::Literal("mute"), IndexPart::Jid("chatJid")]);
    }

    #[test]
    fn collections_have_names() {
        for collection in Collection::ALL {
            assert_eq!(Collection::from_name(collection.name()), Some(collection));
        }
        assert!(Collection::ALL.is_sorted());
        assert_eq!(Collection::from_name("regular_medium"), None);
    }
}
