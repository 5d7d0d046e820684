use super::*;

fn line(raw: &str) -> String {
    unescape(raw, &Delimiters::default()).into_owned()
}

fn page(raw: &str) -> String {
    unescape_formatted(raw, &Delimiters::default()).into_owned()
}

#[test]
fn text_without_escapes_is_borrowed() {
    for raw in ["", "DOE", "Åse Øverås", "a b"] {
        assert!(matches!(unescape(raw, &Delimiters::default()), Cow::Borrowed(_)));
        assert!(matches!(unescape_formatted(raw, &Delimiters::default()), Cow::Borrowed(_)));
    }
}

#[test]
fn each_escape_becomes_what_it_stands_for() {
    let table = [
        (r"\F\\S\\T\\R\\E\\P\", "|^&~\\#"),
        (r"Smith \T\ Sons", "Smith & Sons"),
        (r"\H\urgent\N\ now", "urgent now"),
        (r"\E\T\E\", r"\T\"),
        (r"\X41\\x4d42\", "AMB"),
        (r"\XC3A9\", "é"),
        (r"\XE9\", "é"),
        (r"\X80\", "\u{80}"),
        (r"\X09\", "\t"),
    ];
    for (raw, text) in table {
        assert_eq!(line(raw), text, "{raw}");
        assert_eq!(page(raw), text, "{raw}");
    }
}

#[test]
fn delimiters_are_the_senders() {
    let delimiters = Delimiters {
        field: b'$',
        component: b'*',
        repetition: b'!',
        escape: b'?',
        subcomponent: b'%',
        truncation: b'@',
    };
    assert_eq!(unescape(r"?F??S??T??R??E??P? \T\", &delimiters), r"$*%!?@ \T\");
}

#[test]
fn escapes_after_letters_beyond_ascii_are_decoded_in_their_place() {
    assert_eq!(line(r"éé\T\ü"), "éé&ü");
    assert_eq!(line(r"王\.br\小明\"), "王 小明\\");
    assert_eq!(line(r"\é\T\"), "\\é&");
}

#[test]
fn what_is_no_escape_is_kept_as_sent() {
    let table = [
        r"\",
        r"ends \",
        r"\\",
        r"\Q\",
        r"C:\temp\x",
        r"\X\",
        r"\X4\",
        r"\XZZ\",
        r"\X4142",
        r"\X00\",
        r"\X411B\",
        r"\C2842\text",
        r"\M2442\;3ED\C2842\",
        r"\M242844\",
        r"\Zab1\",
        r"\Z\",
        r"\C28\",
        r"\.xy\",
        r"\.\",
        r"\.brr\",
        r"\.sp3x\",
        r"\f\",
        r"\.é\",
        r"\FF\",
    ];
    for raw in table {
        assert_eq!(line(raw), raw);
        assert_eq!(page(raw), raw);
    }
}

#[test]
fn a_lone_backslash_does_not_hide_the_escapes_behind_it() {
    assert_eq!(line(r"C:\a \T\ b"), r"C:\a & b");
    assert_eq!(line(r"\Zab\T\"), r"\Zab\T\");
}

#[test]
fn formatting_makes_lines_in_a_text_and_blanks_in_a_name() {
    let table = [
        (r"a\.br\b", "a\nb", "a b"),
        (r"a\.BR\b", "a\nb", "a b"),
        (r"a\.ce\b", "a\nb", "a b"),
        (r"a\.sp\b", "a\n\nb", "a b"),
        (r"a\.sp3\b", "a\n\n\n\nb", "a b"),
        (r"a\.sp+1\b", "a\n\nb", "a b"),
        (r"a\.sk3\b", "a   b", "a b"),
        (r"a\.sk 3\b", "a   b", "a b"),
        (r"\.in+4\\.ti-4\a\.fi\b\.nf\c", "abc", "abc"),
        (r"a \.br\\.br\b", "a \n\nb", "a b"),
        (r"a\X0D0A\b\X0D\c", "a\nb\nc", "a\r\nb\rc"),
    ];
    for (raw, formatted, plain) in table {
        assert_eq!(page(raw), formatted, "{raw}");
        assert_eq!(line(raw), plain, "{raw}");
    }
}

#[test]
fn control_characters_are_left_out() {
    assert_eq!(line("a\0b\u{1b}c\u{7f}\td"), "abc\td");
    assert_eq!(page("a\r\nb\u{b}"), "a\nb");
}

#[test]
fn an_escape_that_asks_for_too_much_gets_a_bounded_amount() {
    assert_eq!(page(&format!("{}\\.sk9999999\\", "x".repeat(100))).len(), 180);
    assert_eq!(page(&format!("{}\\.sk{}\\", "x".repeat(100), "9".repeat(400))).len(), 180);
    let bomb = r"\.sp99\".repeat(10_000);
    assert!(page(&bomb).len() <= bomb.len() * 5);
    assert!(line(&bomb).len() <= 1);
}

#[test]
fn plain_delimiter_escapes_come_out_as_hl7_parser_has_them() {
    let separators = hl7_parser::message::Separators::default();
    for raw in [r"a\F\b", r"\S\\T\", r"x\R\y\E\z", "plain", r"\.br\"] {
        let theirs = separators.decode(raw).to_string().replace('\r', "\n");
        assert_eq!(page(raw), theirs, "{raw}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_in_gives_bounded_text_without_controls(raw in "[\\\\.a-zA-Z0-9|^~&é\u{0}-\u{20}+-]{0,120}") {
        for out in [line(&raw), page(&raw)] {
            proptest::prop_assert!(out.len() <= raw.len() * 5);
            proptest::prop_assert!(!out.bytes().any(is_forbidden));
        }
    }

    #[test]
    fn an_escaped_text_comes_back(text in "[a-z|^~&\\\\#é ]{0,40}") {
        let mut raw = String::new();
        for c in text.chars() {
            match c {
                '|' => raw.push_str(r"\F\"),
                '^' => raw.push_str(r"\S\"),
                '&' => raw.push_str(r"\T\"),
                '~' => raw.push_str(r"\R\"),
                '\\' => raw.push_str(r"\E\"),
                '#' => raw.push_str(r"\P\"),
                other => raw.push(other),
            }
        }
        proptest::prop_assert_eq!(line(&raw), text);
    }
}
