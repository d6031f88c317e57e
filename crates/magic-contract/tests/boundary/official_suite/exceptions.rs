//! The groups of the official suite in which some cases are decided otherwise, each with its reason.

use super::Exception;

const NO_FETCH: &str = "refused on purpose (E1005): a schema never leads out of its document";
const DIALECT: &str = "refused on purpose (E1005): no dialects but draft-07 and 2020-12, so no metaschemas of one's own";
const UNKNOWN_FORMAT: &str =
    "refused on purpose (E1005): a format that is not known could not be checked";
const NO_IDN_TABLES: &str = "refused (E1005): international names need tables that are not carried, so the format is unknown";
const ASSERTED: &str = "decided otherwise on purpose: formats are asserted in every dialect";
const DEFAULTS: &str =
    "decided otherwise on purpose: defaults are filled in, and must therefore be valid";

/// Dialect, file, group, how many of its cases, reason.
#[rustfmt::skip]
pub(super) const EXCEPTIONS: &[Exception] = &[
    ("draft7", "default.json", "invalid type for default", 1, DEFAULTS),
    ("draft7", "default.json", "invalid string value for default", 1, DEFAULTS),
    ("draft7", "default.json", "the default keyword does not do anything if the property is missing", 1, DEFAULTS),
    ("draft7", "format.json", "idn-email format", 6, NO_IDN_TABLES),
    ("draft7", "format.json", "idn-hostname format", 6, NO_IDN_TABLES),
    ("draft7", "optional/cross-draft.json", "refs to future drafts are processed as future drafts", 2, NO_FETCH),
    ("draft7", "optional/format/idn-email.json", "validation of an internationalized e-mail addresses", 10, NO_IDN_TABLES),
    ("draft7", "optional/format/idn-hostname.json", "validation of internationalized host names", 55, NO_IDN_TABLES),
    ("draft7", "optional/format/unknown.json", "unknown format", 7, UNKNOWN_FORMAT),
    ("draft7", "refRemote.json", "remote ref", 2, NO_FETCH),
    ("draft7", "refRemote.json", "fragment within remote ref", 2, NO_FETCH),
    ("draft7", "refRemote.json", "ref within remote ref", 2, NO_FETCH),
    ("draft7", "refRemote.json", "base URI change", 2, NO_FETCH),
    ("draft7", "refRemote.json", "base URI change - change folder", 2, NO_FETCH),
    ("draft7", "refRemote.json", "base URI change - change folder in subschema", 2, NO_FETCH),
    ("draft7", "refRemote.json", "root ref in remote ref", 3, NO_FETCH),
    ("draft7", "refRemote.json", "remote ref with ref to definitions", 2, NO_FETCH),
    ("draft7", "refRemote.json", "Location-independent identifier in remote ref", 2, NO_FETCH),
    ("draft7", "refRemote.json", "retrieved nested refs resolve relative to their URI not $id", 2, NO_FETCH),
    ("draft7", "refRemote.json", "$ref to $ref finds location-independent $id", 2, NO_FETCH),
    ("draft2020-12", "default.json", "invalid type for default", 1, DEFAULTS),
    ("draft2020-12", "default.json", "invalid string value for default", 1, DEFAULTS),
    ("draft2020-12", "default.json", "the default keyword does not do anything if the property is missing", 1, DEFAULTS),
    ("draft2020-12", "dynamicRef.json", "strict-tree schema, guards against misspelled properties", 2, NO_FETCH),
    ("draft2020-12", "dynamicRef.json", "tests for implementation dynamic anchor and reference link", 3, NO_FETCH),
    ("draft2020-12", "dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first", 3, NO_FETCH),
    ("draft2020-12", "dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first", 3, NO_FETCH),
    ("draft2020-12", "dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor", 2, NO_FETCH),
    ("draft2020-12", "format.json", "email format", 1, ASSERTED),
    ("draft2020-12", "format.json", "idn-email format", 7, NO_IDN_TABLES),
    ("draft2020-12", "format.json", "regex format", 1, ASSERTED),
    ("draft2020-12", "format.json", "ipv4 format", 1, ASSERTED),
    ("draft2020-12", "format.json", "ipv6 format", 1, ASSERTED),
    ("draft2020-12", "format.json", "idn-hostname format", 7, NO_IDN_TABLES),
    ("draft2020-12", "format.json", "hostname format", 1, ASSERTED),
    ("draft2020-12", "format.json", "date format", 1, ASSERTED),
    ("draft2020-12", "format.json", "date-time format", 1, ASSERTED),
    ("draft2020-12", "format.json", "time format", 1, ASSERTED),
    ("draft2020-12", "format.json", "json-pointer format", 1, ASSERTED),
    ("draft2020-12", "format.json", "relative-json-pointer format", 1, ASSERTED),
    ("draft2020-12", "format.json", "iri format", 1, ASSERTED),
    ("draft2020-12", "format.json", "iri-reference format", 1, ASSERTED),
    ("draft2020-12", "format.json", "uri format", 1, ASSERTED),
    ("draft2020-12", "format.json", "uri-reference format", 1, ASSERTED),
    ("draft2020-12", "format.json", "uri-template format", 1, ASSERTED),
    ("draft2020-12", "format.json", "uuid format", 1, ASSERTED),
    ("draft2020-12", "format.json", "duration format", 1, ASSERTED),
    ("draft2020-12", "optional/cross-draft.json", "refs to historic drafts are processed as historic drafts", 1, NO_FETCH),
    ("draft2020-12", "optional/format/idn-email.json", "validation of an internationalized e-mail addresses", 10, NO_IDN_TABLES),
    ("draft2020-12", "optional/format/idn-hostname.json", "validation of internationalized host names", 56, NO_IDN_TABLES),
    ("draft2020-12", "optional/format/unknown.json", "unknown format", 7, UNKNOWN_FORMAT),
    ("draft2020-12", "optional/format-assertion.json", "schema that uses custom metaschema with format-assertion: false", 2, DIALECT),
    ("draft2020-12", "optional/format-assertion.json", "schema that uses custom metaschema with format-assertion: true", 2, DIALECT),
    ("draft2020-12", "refRemote.json", "remote ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "fragment within remote ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "anchor within remote ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "ref within remote ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "base URI change", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "base URI change - change folder", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "base URI change - change folder in subschema", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "root ref in remote ref", 3, NO_FETCH),
    ("draft2020-12", "refRemote.json", "remote ref with ref to defs", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "Location-independent identifier in remote ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "retrieved nested refs resolve relative to their URI not $id", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "remote HTTP ref with different $id", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "remote HTTP ref with different URN $id", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "remote HTTP ref with nested absolute ref", 2, NO_FETCH),
    ("draft2020-12", "refRemote.json", "$ref to $ref finds detached $anchor", 2, NO_FETCH),
    ("draft2020-12", "vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary", 3, DIALECT),
    ("draft2020-12", "vocabulary.json", "ignore unrecognized optional vocabulary", 2, DIALECT),
];
