//! How fast staged claims become the bytes of COPY BINARY, without a server.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use claims_etl::adbc_postgres::CopyEncoder;
use claims_etl::schema::{AMOUNT_PRECISION, AMOUNT_SCALE, Shape, staged_schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: i64 = 65_536;

/// A batch as the second pass hands it to COPY, with values of the usual lengths.
fn staged_batch() -> RecordBatch {
    let tokens = |salt: i64| -> ArrayRef {
        let bytes: Vec<[u8; 16]> = (0..ROWS)
            .map(|n| i128::from((n ^ salt).wrapping_mul(0x9E37_79B9)).pow(3).to_be_bytes())
            .collect();
        Arc::new(FixedSizeBinaryArray::try_from_iter(bytes.iter()).expect("sixteen bytes each"))
    };
    let decimals = |modulus: i64, precision, scale| -> ArrayRef {
        let values = (0..ROWS).map(|n| i128::from(n * 7_919 % modulus));
        let array = Decimal128Array::from_iter_values(values);
        Arc::new(array.with_precision_and_scale(precision, scale).expect("a valid precision"))
    };
    let texts = |values: &dyn Fn(i64) -> Option<String>| -> ArrayRef {
        Arc::new((0..ROWS).map(values).collect::<StringViewArray>())
    };
    let small = |n: i64, modulus: i64| i32::try_from(n % modulus).expect("small");
    let specialties = ["Cardiology", "Family Medicine", "Orthopedic Surgery", "Radiology"];
    let columns: Vec<ArrayRef> = vec![
        tokens(1),
        Arc::new(Int16Array::from_iter_values((0..ROWS).map(|n| 1 + i16::from(n % 9 == 0)))),
        tokens(2),
        texts(&|n| Some(format!("PRV{:07}", n % 50_000))),
        texts(&|n| (n % 50 != 0).then(|| format!("{:05}", 90_000 + n % 9_999))),
        decimals(5_000_000, AMOUNT_PRECISION, AMOUNT_SCALE),
        Arc::new(Date32Array::from_iter_values((0..ROWS).map(|n| 19_000 + small(n, 730)))),
        texts(&|n| Some(specialties[usize::try_from(n % 4).expect("below 4")].to_owned())),
        texts(&|n| (n % 20 != 0).then(|| format!("Springfield, district {}", n % 300))),
        decimals(10_000, 5, 2),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(|n| n << 30))),
        Arc::new((0..ROWS).map(|n| Some(n % 40 == 0)).collect::<BooleanArray>()),
        Arc::new(Int32Array::from_iter_values((0..ROWS).map(|n| small(n, 64)))),
    ];
    RecordBatch::try_new(staged_schema(Shape::WHOLE), columns).expect("the contract's columns")
}

fn encode(batch: &RecordBatch) -> usize {
    let mut bytes = 0;
    let mut sink = |chunk: &[u8]| {
        bytes += black_box(chunk).len();
        Ok(())
    };
    let mut encoder = CopyEncoder::new(&batch.schema()).expect("types with a COPY form");
    encoder.encode(batch, &mut sink).expect("encodes");
    encoder.finish(&mut sink).expect("finishes");
    bytes
}

fn copy(c: &mut Criterion) {
    let batch = staged_batch();
    let mut group = c.benchmark_group("copy_binary");
    group.throughput(Throughput::Bytes(u64::try_from(encode(&batch)).expect("fits")));
    group.bench_function("claims_fact", |b| b.iter(|| encode(black_box(&batch))));
    group.finish();
}

criterion_group!(benches, copy);
criterion_main!(benches);
