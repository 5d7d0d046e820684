//! Any bytes in any reads through the frame decoder: the pieces do not depend on the reads, and no byte is made up.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use stoker::mllp::wire::frame::{Codec, Piece};
use tokio_util::codec::Decoder;

fuzz_target!(|input: (u8, Vec<u8>, &[u8])| {
    let (max_frame, cuts, bytes) = input;
    let max_frame = usize::from(max_frame) + 1;
    let whole = pieces(max_frame, &[bytes]);
    assert_eq!(pieces(max_frame, &reads(bytes, &cuts)), whole, "the reads change the pieces");
    let length: u64 = whole.iter().map(length).sum();
    assert!(length <= bytes.len() as u64, "{} bytes became {length}", bytes.len());
});

fn reads<'b>(mut bytes: &'b [u8], cuts: &[u8]) -> Vec<&'b [u8]> {
    let mut reads = Vec::new();
    for cut in cuts {
        let (read, rest) = bytes.split_at(usize::from(*cut).min(bytes.len()));
        reads.push(read);
        bytes = rest;
    }
    reads.push(bytes);
    reads
}

fn pieces(max_frame: usize, reads: &[&[u8]]) -> Vec<Piece> {
    let mut codec = Codec::new(max_frame);
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for read in reads {
        buffer.extend_from_slice(read);
        while let Some(piece) = codec.decode(&mut buffer).expect("the decoder has no faults") {
            found.push(piece);
        }
    }
    while let Some(piece) = codec.decode_eof(&mut buffer).expect("the decoder has no faults") {
        found.push(piece);
    }
    found
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Frame(body) | Piece::Noise(body) => body.len() as u64,
        Piece::Oversize { length, .. } | Piece::Partial { length, .. } => *length,
    }
}
