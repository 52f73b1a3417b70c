//! What may come over the socket of a prefork server or to its client: greetings, requests and
//! statuses of any bytes. What is read is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prefork::protocol::{Request, Status, greeting, request_length};

fuzz_target!(|input: &[u8]| {
    if let Some(bytes) = input.first_chunk() {
        if let Ok(status) = Status::decode(*bytes) {
            assert_eq!(status.encode(), *bytes);
        }
        let _ = request_length(*bytes);
    }
    if let Some(bytes) = input.first_chunk() {
        let _ = greeting(*bytes);
    }
    if let Ok(request) = Request::decode(input) {
        assert_eq!(&request.encode().expect("as short as it was")[4..], input);
        for word in &request.arguments {
            let _ = request.variable(word);
        }
    }
});
