use super::*;

fn charset(name: &str) -> Charset {
    name.parse().unwrap()
}

fn read(raw: &[u8], declared: &[&[u8]]) -> String {
    decode(raw, declared, None).unwrap().into_owned()
}

#[test]
fn ascii_is_borrowed_whatever_msh_18_says() {
    let raw = b"MSH|^~\\&|A\rPID|1||7||DOE";
    for name in ["", "ASCII", "8859/1", "UNICODE UTF-8", "GB 18030-2000", "UNICODE UTF-16", "no such set"] {
        let text = decode(raw, &[name.as_bytes()], None).unwrap();
        assert!(matches!(text, Cow::Borrowed(_)), "{name}");
        assert_eq!(text.as_bytes(), raw);
    }
}

#[test]
fn each_name_of_table_0211_is_known_by_its_spellings() {
    let table = [
        ("ASCII", Charset::Ascii),
        ("ISO IR6", Charset::Ascii),
        ("us-ascii", Charset::Ascii),
        ("8859/1", Charset::Latin1),
        ("ISO-8859-1", Charset::Latin1),
        ("iso_8859_1", Charset::Latin1),
        ("ISO8859-1", Charset::Latin1),
        ("LATIN1", Charset::Latin1),
        ("8859/9", Charset::Latin5),
        ("8859/11", Charset::Thai),
        ("8859/2", Charset::Other(encoding_rs::ISO_8859_2)),
        ("8859/15", Charset::Other(encoding_rs::ISO_8859_15)),
        ("WINDOWS-1252", Charset::Other(encoding_rs::WINDOWS_1252)),
        ("windows-1250", Charset::Other(encoding_rs::WINDOWS_1250)),
        ("UNICODE", Charset::Utf8),
        ("UNICODE UTF-8", Charset::Utf8),
        ("UTF8", Charset::Utf8),
        ("UNICODE UTF-16", Charset::Utf16),
        ("UNICODE UTF-32", Charset::Utf32),
        ("ISO IR14", Charset::JisX0201),
        ("ISO IR87", Charset::Iso2022Jp),
        ("ISO IR159", Charset::Iso2022Jp),
        ("ISO-2022-JP", Charset::Iso2022Jp),
        ("GB 18030-2000", Charset::Other(encoding_rs::GB18030)),
        ("GB18030", Charset::Other(encoding_rs::GB18030)),
        ("KS X 1001", Charset::Other(encoding_rs::EUC_KR)),
        ("BIG-5", Charset::Other(encoding_rs::BIG5)),
        ("CNS 11643-1992", Charset::Cns11643),
        ("Shift_JIS", Charset::Other(encoding_rs::SHIFT_JIS)),
    ];
    for (name, set) in table {
        assert_eq!(charset(name), set, "{name}");
    }
    for name in ["8859/12", "iso-8859-1:1987", "utf-7", "x-user-defined", ""] {
        assert!(name.parse::<Charset>().is_err(), "{name}");
    }
}

#[test]
fn a_name_that_is_written_out_is_read_back_as_the_same_set() {
    for n in (1..=15).filter(|&n| n != 12) {
        let set = charset(&format!("8859/{n}"));
        assert_eq!(charset(&set.to_string()), set);
    }
    for name in ["ASCII", "UTF-8", "UTF-16", "UTF-32", "ISO IR14", "ISO IR87", "CNS 11643-1992", "BIG-5", "KS X 1001"] {
        assert_eq!(charset(&charset(name).to_string()), charset(name));
    }
}

#[test]
fn each_set_reads_its_own_letters() {
    let table: [(&str, &[u8], &str); 20] = [
        ("8859/1", b"M\xFCller", "Müller"),
        ("8859/2", b"Dvo\xF8\xE1k", "Dvořák"),
        ("8859/3", b"\xA6", "Ĥ"),
        ("8859/4", b"\xD0ukuri", "Đukuri"),
        ("8859/5", b"\xB8\xD2\xD0\xDD\xDE\xD2", "Иванов"),
        ("8859/6", b"\xE5\xCD\xE5\xCF", "محمد"),
        ("8859/7", b"\xD0\xE1\xF0\xDC\xF2", "Παπάς"),
        ("8859/8", b"\xEB\xE4\xEF", "כהן"),
        ("8859/9", b"\xDE\xFDk", "Şık"),
        ("8859/10", b"\xDE\xF3r", "Þór"),
        ("8859/11", b"\xCA\xC1", "สม"),
        ("8859/13", b"\xD0", "Š"),
        ("8859/14", b"\xDE", "Ŷ"),
        ("8859/15", b"\xA4", "€"),
        ("WINDOWS-1252", b"\x80", "€"),
        ("UNICODE UTF-8", "Søren 王".as_bytes(), "Søren 王"),
        ("GB 18030-2000", b"\xCD\xF5\x81\x30\x81\x30", "王\u{80}"),
        ("KS X 1001", b"\xB1\xE8", "김"),
        ("BIG-5", b"\xB3\x5C\xA5\x5C", "許功"),
        ("ISO IR14", b"\xD4\xCF\xC0\xDE", "ﾔﾏﾀﾞ"),
    ];
    for (name, bytes, text) in table {
        assert_eq!(read(bytes, &[name.as_bytes()]), text, "{name}");
    }
}

#[test]
fn latin_1_keeps_its_controls_and_is_not_windows_1252() {
    assert_eq!(read(b"\x80\x93\xA4", &[b"8859/1"]), "\u{80}\u{93}¤");
    assert_eq!(read(b"\x80\xA4", &[b"8859/9"]), "\u{80}¤");
    assert_eq!(read(b"\x80", &[b"8859/11"]), "\u{80}");
}

#[test]
fn a_delimiter_inside_a_character_is_not_one() {
    let raw = b"MSH|^~\\&|A\rPID|1||7||\xB3\x5C^\xAA\x7C\r";
    let text = read(raw, &[b"BIG-5"]);
    assert!(text.ends_with("||許^泜\r"), "{text}");
}

#[test]
fn byte_order_marks_decide_and_are_taken_off() {
    let text = "MSH|^~\\&|Ü\rPID|1";
    let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let wide_le: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let wide_be: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let table: [(&[u8], Vec<u8>); 5] = [
        (b"\xEF\xBB\xBF", text.as_bytes().to_vec()),
        (b"\xFF\xFE", le),
        (b"\xFE\xFF", be),
        (b"\xFF\xFE\0\0", wide_le),
        (b"\0\0\xFE\xFF", wide_be),
    ];
    for (mark, bytes) in table {
        let marked = [mark, bytes.as_slice()].concat();
        assert_eq!(read(&marked, &[b"8859/1"]), text, "{mark:x?}");
        // Without a mark the zeros show the form; UTF-8 needs no sign.
        assert_eq!(read(&bytes, &[]), text, "without {mark:x?}");
    }
}

#[test]
fn utf_16_that_the_message_is_not_in_is_refused() {
    let fault = decode(b"MSH|^~\\&|\xDC", &[b"UNICODE UTF-16"], None).unwrap_err();
    assert_eq!(fault, CharsetFault::NotWide { charset: Charset::Utf16 });
}

#[test]
fn a_byte_that_does_not_fit_is_named_with_its_place_and_not_replaced() {
    let raw = b"MSH|^~\\&|A\rPID|1||7||DOE\rNK1|1|A\rNK1|2|B\xFC|SPO";
    let fault = decode(raw, &[b"UNICODE UTF-8"], None).unwrap_err();
    let place = fault.place().unwrap();
    assert_eq!((place.segment.as_str(), place.sequence, place.field), ("NK1", 2, 2));
    assert_eq!((place.offset, place.byte), (40, 0xFC));
    let text = fault.to_string();
    assert!(text.starts_with("NK1-2 of NK1 segment 2: byte 0xFC at offset 40 is not UNICODE UTF-8"), "{text}");
    assert!(text.contains("charset_override"), "{text}");
    assert!(!text.contains("DOE"));
}

#[test]
fn the_place_is_found_in_every_kind_of_set() {
    let table: [(&str, &[u8]); 8] = [
        ("ASCII", b"\xFC"),
        ("8859/7", b"\xFF"),
        ("8859/11", b"\xFF"),
        ("ISO IR14", b"\xF0"),
        ("GB 18030-2000", b"\xCD\xF5\xFF"),
        ("KS X 1001", b"\xB1\xE8\xFF"),
        ("BIG-5", b"\xB3\x5C\xFF"),
        ("ISO IR87", b"\x1B$B;3ED\x1B(B\xFF"),
    ];
    for (name, bytes) in table {
        let raw = [b"MSH|^~\\&|A\rPID|1||", bytes, b"|X"].concat();
        let fault = decode(&raw, &[name.as_bytes()], None).unwrap_err();
        let place = fault.place().unwrap();
        assert_eq!((place.segment.as_str(), place.sequence, place.field), ("PID", 1, 3), "{name}");
        assert_eq!(place.offset, raw.len() - 3, "{name}");
        assert_eq!(place.byte, *bytes.last().unwrap(), "{name}");
    }
}

#[test]
fn a_fault_in_msh_counts_the_separator_as_its_first_field() {
    let fault = decode(b"\xEF\xBB\xBFMSH|^~\\&|\xFC", &[], None).unwrap_err();
    let place = fault.place().unwrap();
    assert_eq!((place.segment.as_str(), place.field, place.offset), ("MSH", 3, 12));
}

#[test]
fn an_empty_msh_18_means_the_listeners_set_else_utf_8() {
    let latin = b"MSH|^~\\&|\xFC";
    assert_eq!(decode(latin, &[], Some(Charset::Latin1)).unwrap(), "MSH|^~\\&|ü");
    assert_eq!(decode("MSH|^~\\&|ü".as_bytes(), &[], None).unwrap(), "MSH|^~\\&|ü");
    let fault = decode(latin, &[], None).unwrap_err();
    assert!(matches!(fault, CharsetFault::Undeclared { .. }));
    assert!(fault.to_string().contains("set `charset` for this listener"), "{fault}");
    // What MSH-18 says comes before what the listener says.
    assert!(decode(latin, &[b"ASCII"], Some(Charset::Latin1)).is_err());
}

#[test]
fn what_cannot_be_decoded_is_refused_by_name() {
    let unknown = decode(b"MSH|^~\\&|\xFC", &[b"EBCDIC\x1c"], None).unwrap_err();
    assert!(unknown.to_string().contains("'EBCDIC '"), "{unknown}");
    let cns = decode(b"MSH|^~\\&|\xFC", &[b"CNS 11643-1992"], None).unwrap_err();
    assert_eq!(cns, CharsetFault::Unsupported { charset: Charset::Cns11643 });
}

#[test]
fn japanese_escape_sequences_switch_and_the_segments_end_switches_back() {
    let expected = "山田^太郎|ﾔﾏﾀﾞ\rNK1|A";
    let raw = b"\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(J|\x1B(ITO@^\rNK1|A";
    for declared in [&[b"".as_slice(), b"ISO IR87"] as &[&[u8]], &[b"ISO IR87"], &[b"ISO-2022-JP"], &[]] {
        assert_eq!(read(raw, declared), expected, "{declared:?}");
    }
    // JIS X 0212, the supplementary characters.
    assert_eq!(read(b"\x1B$(D0\x21\x1B(B", &[b"", b"ISO IR159"]), "丂");
}

#[test]
fn a_segment_that_ends_among_two_byte_characters_is_a_fault() {
    // Half a character: from here on `^` and `|` are read as halves of others.
    let raw = b"MSH|^~\\&|A\rPID|1||7||\x1B$B;3E^JANE|1980|\rPV1|1";
    let fault = decode(raw, &[b"", b"ISO IR87"], None).unwrap_err();
    let place = fault.place().unwrap();
    assert_eq!((place.segment.as_str(), place.byte), ("PID", b'\r'));
}

#[test]
fn hl7s_own_spelling_of_a_switch_is_the_same() {
    let raw = b"MSH|^~\\&|A|\\M2442\\;3ED\\C2842\\|\\C2D46\\\xD0\\C2D41\\\xFC";
    assert_eq!(read(raw, &[b"ASCII", b"ISO IR87", b"8859/7"]), "MSH|^~\\&|A|山田|Πü");
    // One that nobody announced, or that is none, is left to the reader of the field.
    assert_eq!(read(b"\\M2442\\;3ED", &[b"ASCII"]), "\\M2442\\;3ED");
    assert_eq!(read(b"\\C9999\\;3ED", &[b"ASCII", b"ISO IR87"]), "\\C9999\\;3ED");
}

#[test]
fn korean_and_latin_sets_switch_in_the_upper_half() {
    let raw = b"A\xFC\x1B-B\xF8\x1B$)C\xB1\xE8\rPID|\xFC";
    assert_eq!(read(raw, &[b"8859/1", b"8859/2", b"KS X 1001"]), "Aüř김\rPID|ü");
}

#[test]
fn a_switch_to_an_unknown_set_is_an_error_where_switches_are_announced() {
    let raw = b"MSH|^~\\&|A\rPID|1||\x1B$)G\xA4\xE8";
    let fault = decode(raw, &[b"ASCII", b"CNS 11643-1992"], None).unwrap_err();
    assert_eq!(fault.place().unwrap().byte, 0x1B);
    // A printer's control codes in a plain message are text.
    assert_eq!(read(b"OBX|\x1BE", &[]), "OBX|\x1BE");
}

#[test]
fn an_empty_first_repetition_is_ascii() {
    assert!(decode(b"PID|\xFC", &[b"", b"ISO IR87"], None).is_err());
    assert_eq!(decode(b"PID|\xFC", &[b"", b"ISO IR87"], Some(Charset::Latin1)).unwrap(), "PID|ü");
}

#[test]
fn the_repetitions_of_msh_18_are_read_with_the_senders_delimiters() {
    let raw = b"MSH*^$\\&*A*F***2024**ADT^A01*1*P*2.5*****JPN*$ISO IR87";
    let header = Header::peek(raw).unwrap();
    assert_eq!(declared(&header).as_slice(), [b"".as_slice(), b"ISO IR87"]);
    let header = Header::peek(b"MSH|^~\\&|A|F|||2024||ADT^A01|1|P|2.5||||||\"\"").unwrap();
    assert!(declared(&header).is_empty());
}

proptest::proptest! {
    #[test]
    fn any_bytes_in_any_set_give_text_or_a_place_within_them(
        raw in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        first in 0..names_of_sets().len(),
        second in 0..names_of_sets().len(),
    ) {
        let sets = names_of_sets();
        for declared in [&[sets[first].as_bytes()] as &[&[u8]], &[sets[first].as_bytes(), sets[second].as_bytes()]] {
            match decode(&raw, declared, None) {
                Ok(text) => proptest::prop_assert!(text.len() <= raw.len() * 3),
                Err(fault) => if let Some(place) = fault.place() {
                    proptest::prop_assert!(place.offset <= raw.len());
                    proptest::prop_assert!(place.sequence >= 1);
                },
            }
        }
    }
}

/// The messages of a folder below `samples/`, by file name.
fn samples(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let messages = files.filter(|path| path.extension().is_some_and(|e| e == "hl7"));
    messages.map(|path| (path.file_stem().unwrap().to_string_lossy().into(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_sample_is_in_the_character_set_that_it_declares() {
    let names = [
        ("A01-admit-fjordvik", "Øverås^Åse^Bjørnstad"),
        ("A01-admit-lantan", "許^淑芬"),
        ("A01-admit-midorigaoka", "山田^太郎^^^^^L^I~ヤマダ^タロウ"),
        ("A02-transfer-brezina", "Dvořáková^Božena"),
        ("A04-register-haneul", "김^서연"),
        ("A05-preadmit-lindenau", "Müßigbrodt^Jürgen"),
        ("A06-to-inpatient-sainteodile", "LECŒUR^FRANÇOISE"),
        ("A07-to-outpatient-qinghe", "李^𠮷文"),
        ("A14-pending-admit-aigli", "Παπαδοπούλου^Ελένη"),
        ("A15-pending-transfer-sadovaya", "Щукина^Людмила"),
    ];
    let samples = samples("");
    assert!(samples.len() >= 50);
    for (name, raw) in &samples {
        let header = Header::peek(raw).unwrap();
        let text = decode(raw, &declared(&header), None).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(text.ends_with('\r') && !text.contains('\n'), "{name}");
        if let Some((_, patient)) = names.iter().find(|(sample, _)| sample == name) {
            assert!(text.contains(&format!("|{patient}^")), "{name}");
        }
    }
    for (name, _) in names {
        assert!(samples.iter().any(|(sample, _)| sample == name), "{name}");
    }
}

#[test]
fn hostile_messages_decode_unless_their_bytes_are_the_fault() {
    let hostile = samples("hostile");
    assert!(hostile.len() >= 50);
    for (name, raw) in hostile {
        let Ok(header) = Header::peek(&raw) else { continue };
        let file = format!("{}/samples/hostile/{name}.expect", env!("CARGO_MANIFEST_DIR"));
        let expect: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let unreadable = expect.get("err").and_then(toml::Value::as_str) == Some("102");
        assert_eq!(decode(&raw, &declared(&header), None).is_err(), unreadable, "{name}");
    }
}

fn names_of_sets() -> [&'static str; 16] {
    [
        "",
        "ASCII",
        "8859/1",
        "8859/6",
        "8859/9",
        "8859/11",
        "8859/15",
        "UTF-8",
        "UTF-16",
        "ISO IR14",
        "ISO IR87",
        "GB 18030-2000",
        "KS X 1001",
        "BIG-5",
        "CNS 11643-1992",
        "windows-1252",
    ]
}
