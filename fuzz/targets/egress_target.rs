//! URLs of controllers and of redirects: what passes has one meaning, and a second reading agrees.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_broker::EgressTarget;
use magic_contract::Host;

/// What holds for every target that was taken.
fn check(target: &EgressTarget) {
    let host = target.host().to_string();
    assert_eq!(Host::parse(&host).as_ref(), Ok(target.host()));
    assert!(target.as_str().contains(&host));
    assert_eq!(EgressTarget::parse(target.as_str()).as_ref(), Ok(target));
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(target) = EgressTarget::parse(text) {
        assert!(text.contains(&target.host().to_string()));
        check(&target);
    }
    let base = EgressTarget::parse("https://a.example:8443/b/c?d").expect("a plain URL");
    if let Ok(target) = base.resolve(text) {
        // Another origin has to be named.
        assert!(target.has_origin_of(&base) || text.contains("//"));
        check(&target);
    }
});
