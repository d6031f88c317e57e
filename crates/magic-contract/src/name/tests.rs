//! Tables of names that each kind takes and refuses.

use super::*;

fn check<N: FromStr>(good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(text.parse::<N>().is_ok(), "{text:?} should be accepted");
    }
    for text in bad {
        assert!(text.parse::<N>().is_err(), "{text:?} should be refused");
    }
}

/// Every kind of name has a table of both sorts.
#[test]
fn names_follow_their_rules() {
    let long = "A".repeat(65);
    check::<ControllerName>(
        &["A", "InvoiceSync", "Http2Check", &"A".repeat(64)],
        &[
            "",
            "invoiceSync",
            "invoice_sync",
            "Invoice-Sync",
            "Invoice Sync",
            "1Invoice",
            "Ünder",
            "A/../B",
            "A\0",
            &long,
        ],
    );
    check::<TableName>(
        &["invoices", "_t1", "billing.invoices", "Orders"],
        &[
            "", ".", "a.", ".a", "a.b.c", "1a", "a-b", "a b", "a;drop", "a\"", "tàble", "*",
        ],
    );
    check::<QueueName>(
        &["invoices", "a.b-c_d", "0a"],
        &["", "Invoices", "-a", ".a", "a b", "a*", "a/b"],
    );
    check::<SecretName>(
        &["STRIPE_KEY", "a1"],
        &["", "1A", "A-B", "A.B", "A*", "A B"],
    );
    check::<CacheKeyPattern>(
        &["rates:*", "rates:eur", "a", "a/b*"],
        &["", "*", "**", "a*b", "*a", "a b", "a\n", "é"],
    );
    check::<MetricName>(&["requests_total"], &["", "Requests", "1a", "a-b", "_a"]);
}

/// File names follow from controller names.
#[test]
fn snake_case_keeps_words_apart() {
    for (pascal, snake) in [
        ("InvoiceSync", "invoice_sync"),
        ("A", "a"),
        ("HTTPCheck2", "http_check2"),
        ("DemoController", "demo_controller"),
        ("Http2Check", "http2_check"),
    ] {
        let name: ControllerName = pascal.parse().unwrap();
        assert_eq!(name.to_snake_case(), snake);
    }
}

/// Free text becomes a name where that is possible.
#[test]
fn suggestions_are_valid_names() {
    let suggested = |text| ControllerName::suggestion(text).map(|name| name.to_string());
    assert_eq!(suggested("invoice_sync").as_deref(), Some("InvoiceSync"));
    assert_eq!(suggested("invoiceSync").as_deref(), Some("InvoiceSync"));
    assert_eq!(suggested("invoice sync!").as_deref(), Some("InvoiceSync"));
    assert_eq!(suggested("123"), None);
    assert_eq!(suggested(""), None);
}

/// Patterns match by prefix only.
#[test]
fn cache_patterns_cover_keys() {
    let pattern: CacheKeyPattern = "rates:*".parse().unwrap();
    assert!(pattern.covers("rates:eur"));
    assert!(!pattern.covers("other"));
    let exact: CacheKeyPattern = "rates".parse().unwrap();
    assert!(exact.covers("rates"));
    assert!(!exact.covers("rates:eur"));
}
