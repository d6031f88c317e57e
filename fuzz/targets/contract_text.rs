//! Text of contracts: a contract that can be written down, or problems that can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_contract::{Color, Contract};

fuzz_target!(|data: &[u8]| {
    match Contract::parse(data, "contract.yaml") {
        Ok(contract) => {
            let text = contract.to_json().to_string();
            assert!(!text.is_empty());
        }
        Err(problems) => {
            let shown = problems.render(Color::Never);
            assert!(!shown.is_empty());
        }
    }
});
