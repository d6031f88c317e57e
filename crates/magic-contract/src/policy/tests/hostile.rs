//! Whatever is read as a policy, as cases or as a target ends in a value or in a refusal.

use proptest::prelude::*;

use super::super::*;
use crate::capability::CapabilityKind;
use crate::grant::NamedTarget;

const CASES: &str = "policy: production\ncases:\n- { name: a, contract: { capabilities: [{ db:read: { tables: [a] } }] }, capability: \"db:read\", target: a, expect: allow, rule: b }\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_texts_never_panic(
        which in 0..2_usize,
        at in any::<prop::sample::Index>(),
        cut in 0..20_usize,
        noise in "[-\\[\\]{},:\"'*&!|>#%@` \n\ta-z0-9é]{0,12}",
    ) {
        let source = [PRODUCTION, CASES][which];
        let start = source.floor_char_boundary(at.index(source.len()));
        let end = source.floor_char_boundary((start + cut).min(source.len()));
        let text = format!("{}{noise}{}", &source[..start], &source[end..]);
        if let Ok(policy) = Policy::parse(text.as_bytes(), "x") {
            let _ = policy.lint(&[]);
            let again = Policy::parse(policy.to_yaml().as_bytes(), "x");
            prop_assert!(again.is_ok_and(|again| again.hash() == policy.hash()), "{}", policy.to_yaml());
        }
        let _ = PolicyCases::parse(text.as_bytes(), "x");
    }

    /// What is accepted as a target is one, and is printed as it was written but for the usual port.
    #[test]
    fn targets_are_read_or_refused(text in "\\PC{0,40}|[a-z.:\\[\\]0-9*]{0,20}") {
        for kind in CapabilityKind::ALL {
            if let Ok(target) = NamedTarget::parse(*kind, &text) {
                let shown = target.to_string();
                let with_port = format!("{shown}:443");
                prop_assert!(shown == text || with_port == text);
            }
        }
    }
}
