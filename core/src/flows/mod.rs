//! Flows: everything that takes more than one step, a file each.

pub(crate) mod client_payload;
pub(crate) mod connect;
pub(crate) mod deliver;
pub(crate) mod encrypt;
pub(crate) mod ib;
pub(crate) mod keepalive;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod notify;
pub(crate) mod pair;
pub(crate) mod people;
pub(crate) mod prekeys;
pub(crate) mod presence;
pub(crate) mod query;
pub(crate) mod receipts;
pub(crate) mod receive;
pub(crate) mod resend;
pub(crate) mod retry;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod source;
pub(crate) mod sweep;

/// Who waits for the answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IqOwner {
    /// The login sequence.
    Login(login::Step),
    /// Prekey maintenance.
    Prekeys(prekeys::Ask),
    /// Phone-code pairing.
    PairCode(pair::Ask),
    /// Keepalive.
    Ping,
    /// Facts for flows.
    Facts(alloc::vec::Vec<query::Query>),
    /// Logout.
    Logout,
    /// Nobody: the answer changes nothing.
    Nobody,
}
