//! The numbers of DHCP that the server acts on. Option names of dhcpd.conf are `conf`'s business.

/// `op` of a client's message.
pub const BOOTREQUEST: u8 = 1;
/// `op` of a server's message.
pub const BOOTREPLY: u8 = 2;
/// The broadcast bit of `flags` (RFC 2131 section 2).
pub const FLAG_BROADCAST: u16 = 0x8000;
/// `htype` of Ethernet.
pub const ETHERNET: u8 = 1;

/// Values of option 53 (RFC 2132 section 9.6).
#[allow(missing_docs, reason = "each is the RFC's DHCP message of that name")]
pub mod message {
    pub const DISCOVER: u8 = 1;
    pub const OFFER: u8 = 2;
    pub const REQUEST: u8 = 3;
    pub const DECLINE: u8 = 4;
    pub const ACK: u8 = 5;
    pub const NAK: u8 = 6;
    pub const RELEASE: u8 = 7;
    pub const INFORM: u8 = 8;
    /// RFC 4388, like the three below.
    pub const LEASEQUERY: u8 = 10;
    pub const LEASEUNASSIGNED: u8 = 11;
    pub const LEASEUNKNOWN: u8 = 12;
    pub const LEASEACTIVE: u8 = 13;
}

/// Option codes (RFC 2132 unless said otherwise).
#[allow(missing_docs, reason = "each is the RFC's option of that name")]
pub mod option {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const HOST_NAME: u8 = 12;
    pub const STATIC_ROUTES: u8 = 33;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_IDENTIFIER: u8 = 54;
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_IDENTIFIER: u8 = 61;
    /// RFC 3004.
    pub const USER_CLASS: u8 = 77;
    /// RFC 4039.
    pub const RAPID_COMMIT: u8 = 80;
    /// RFC 3046.
    pub const RELAY_AGENT: u8 = 82;
    /// RFC 4388.
    pub const CLIENT_LAST_TRANSACTION_TIME: u8 = 91;
    /// RFC 4388.
    pub const ASSOCIATED_IP: u8 = 92;
    /// RFC 8925.
    pub const IPV6_ONLY_PREFERRED: u8 = 108;
    /// RFC 3011.
    pub const SUBNET_SELECTION: u8 = 118;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// Microsoft's number for the same routes.
    pub const CLASSLESS_ROUTES_MS: u8 = 249;
    pub const END: u8 = 255;
}

/// Sub-options of option 82.
pub mod relay {
    /// RFC 3046 section 3.1.
    pub const CIRCUIT_ID: u8 = 1;
    /// RFC 3046 section 3.2.
    pub const REMOTE_ID: u8 = 2;
    /// RFC 3527.
    pub const LINK_SELECTION: u8 = 5;
    /// RFC 5107.
    pub const SERVER_OVERRIDE: u8 = 11;
}
