//! The handshake's protobuf messages, of the names and shapes that the generated code has.
#![allow(missing_docs)]

use bytes::Bytes;

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct HandshakeMessage {
    #[prost(message, optional, tag = "2")]
    pub client_hello: Option<handshake_message::ClientHello>,
    #[prost(message, optional, tag = "3")]
    pub server_hello: Option<handshake_message::ServerHello>,
    #[prost(message, optional, tag = "4")]
    pub client_finish: Option<handshake_message::ClientFinish>,
}

pub mod handshake_message {
    use super::Bytes;

    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub struct ClientHello {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub ephemeral: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub r#static: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "3")]
        pub payload: Option<Bytes>,
    }

    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub struct ServerHello {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub ephemeral: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub r#static: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "3")]
        pub payload: Option<Bytes>,
    }

    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub struct ClientFinish {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub r#static: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub payload: Option<Bytes>,
    }
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CertChain {
    #[prost(message, optional, tag = "1")]
    pub leaf: Option<cert_chain::NoiseCertificate>,
    #[prost(message, optional, tag = "2")]
    pub intermediate: Option<cert_chain::NoiseCertificate>,
}

pub mod cert_chain {
    use super::Bytes;

    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub struct NoiseCertificate {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub details: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub signature: Option<Bytes>,
    }

    pub mod noise_certificate {
        use super::Bytes;

        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct Details {
            #[prost(uint32, optional, tag = "1")]
            pub serial: Option<u32>,
            #[prost(uint32, optional, tag = "2")]
            pub issuer_serial: Option<u32>,
            #[prost(bytes = "bytes", optional, tag = "3")]
            pub key: Option<Bytes>,
            #[prost(uint64, optional, tag = "4")]
            pub not_before: Option<u64>,
            #[prost(uint64, optional, tag = "5")]
            pub not_after: Option<u64>,
        }
    }
}
