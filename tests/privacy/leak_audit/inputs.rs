//! Files with canaries wherever a file can have an identifier.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

use super::canary::{Canaries, Kind};

/// The columns of all claim files.
pub(super) const HEADER: [&str; 7] = [
    "claim_id",
    "line_number",
    "patient_id",
    "provider_id",
    "procedure_code",
    "amount",
    "date_of_service",
];

/// Writes input files with canaries.
pub(super) struct Inputs<'a> {
    pub(super) canaries: &'a Canaries,
    /// Whether provider ids are not to get out either.
    pub(super) providers: bool,
    /// Whether provider names are not to get out either.
    pub(super) names: bool,
    /// Rows of the file with many.
    pub(super) many: u32,
}

impl Inputs<'_> {
    fn claim(&self, number: u32) -> String {
        self.canaries.id(Kind::Claim, number)
    }

    fn patient(&self, number: u32) -> String {
        self.canaries.id(Kind::Patient, number)
    }

    fn provider(&self, number: u32) -> String {
        if self.providers { self.canaries.id(Kind::Provider, number) } else { format!("V{number}") }
    }

    /// The claims of a run, in several files of several forms; their paths.
    pub(super) fn claims(&self, folder: &Path) -> Vec<PathBuf> {
        let paths = ["odd.csv", "many.csv.gz", "wide.csv", "columns.parquet"];
        let [odd, many, wide, columns] = paths.map(|name| folder.join(name));
        fs::write(&odd, self.odd().as_bytes()).expect("written");
        let text = text((0..self.many).map(|n| self.row(1_000 + n, 1_000 + n % 200, &cents(n))));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).expect("packed");
        fs::write(&many, packed.finish().expect("packed")).expect("written");
        // One letter in its two normal forms, in an encoding of two bytes a letter.
        let rows = ["\u{e9}", "e\u{301}"].iter().zip(300..).map(|(letter, n)| {
            format!(
                "{}{letter},1,{}{letter},{},99213,7.00,2024-01-03",
                self.claim(n),
                self.patient(300),
                self.provider(1)
            )
        });
        fs::write(&wide, utf16(&format!("\u{feff}{}", self::text(rows)))).expect("written");
        self.parquet(&columns);
        vec![odd, many, wide, columns]
    }

    /// The claims of a later day: some again with other amounts, some new.
    pub(super) fn corrections(&self, folder: &Path) -> PathBuf {
        let path = folder.join("corrections.csv");
        let rows = (0..60).map(|n| self.row(1_000 + n * 3, 1_000 + n * 3 % 200, "777.77"));
        let new = (0..40).map(|n| self.row(9_000 + n, 9_000, "12.00"));
        fs::write(&path, text(rows.chain(new)).as_bytes()).expect("written");
        path
    }

    /// One good claim.
    pub(super) fn one(&self, folder: &Path) -> PathBuf {
        let path = folder.join("one.csv");
        fs::write(&path, text([self.row(1, 1, "-1.00")]).as_bytes()).expect("written");
        path
    }

    /// The directory.
    pub(super) fn directory(&self, folder: &Path) -> PathBuf {
        let path = folder.join("providers.csv");
        let mut rows = vec!["provider_id,provider_name,specialty,location".to_owned()];
        for number in 1..=40 {
            let name = if self.names {
                self.canaries.id(Kind::ProviderName, number)
            } else {
                format!("Name {number}")
            };
            let specialty = ["Cardiology", "Oncology"][number as usize % 2];
            rows.push(format!("{},{name},{specialty},\"Boston, MA\"", self.provider(number)));
        }
        // Rejected, and in conflict.
        rows.push(format!("{}\u{1},x,Cardiology,Boston", self.provider(41)));
        rows.push(format!("{},other,Oncology", self.provider(42)));
        rows.push(format!("{},another,Oncology,Denver", self.provider(3)));
        fs::write(&path, (rows.join("\n") + "\n").as_bytes()).expect("written");
        path
    }

    fn row(&self, claim: u32, patient: u32, amount: &str) -> String {
        let provider = self.provider(1 + claim % 40);
        let (claim, patient) = (self.claim(claim), self.patient(patient));
        format!("{claim},1,{patient},{provider},99213,{amount},2024-01-02")
    }

    /// Identifiers where they belong and where they do not, in rows that load and rows that do not.
    fn odd(&self) -> String {
        let v = self.provider(1);
        let (c, p) = (|n| self.claim(n), |n| self.patient(n));
        let long = "Z9".repeat(5_000);
        text([
            // Loaded: with blanks, quotes and control characters, and very long.
            format!("{},1,{},{v},99213,10.00,2024-01-01", c(1), p(1)),
            format!("\"  {} \",1,\"{}\"\"02\",{v},99213,20.00,2024-01-01", c(2), p(2)),
            format!("{}\0{},1,{}\0,{},,-30.00,2024-01-01", c(3), c(3), p(3), self.provider(77)),
            format!("{}{long},1,{}{long},,,0,2024-01-01", c(4), p(4)),
            format!("{}\t,1,\u{a0}{},{v},99213,10.00,2024-01-01", c(6), p(6)),
            format!("{},1,{},{v},99213,10.00,2024-01-01", c(7).to_lowercase(), p(7).to_uppercase()),
            // An identical repeat, repeats in conflict, and a reversal.
            format!("{},1,{},{v},99213,10.00,2024-01-01", c(1), p(1)),
            format!("{},1,{},{v},99213,50.00,2024-01-01", c(5), p(5)),
            format!("{},1,{},{v},99213,51.00,2024-01-01", c(5), p(5)),
            format!("{},1,{},{v},99213,-50.00,2024-01-01", c(8), p(5)),
            // Rejected for each reason, with identifiers in the wrong columns too.
            format!(",1,{},{v},99213,1.00,2024-01-01", p(10)),
            format!("{},1,,{v},99213,1.00,2024-01-01", c(11)),
            format!("{},{},{},{v},99213,1.00,2024-01-01", c(12), p(12), p(12)),
            format!("{},1,{},{v},99213,,2024-01-01", c(13), p(13)),
            format!("{},1,{},{v},99213,{},2024-01-01", c(14), p(14), p(14)),
            format!("{},1,{},{v},99213,99999999999999,2024-01-01", c(15), p(15)),
            format!("{},1,{},{v},99213,1.00,", c(16), p(16)),
            format!("{},1,{},{v},99213,1.00,{}", c(17), p(17), c(17)),
            format!("{},1,{},V\u{1}{},99213,1.00,2024-01-01", c(18), p(18), p(18)),
            format!("{},1,{},{v},{}\u{1}19,1.00,2024-01-01", c(19), p(19), c(19)),
            format!("{},1,UNKNOWN,{v},99213,1.00,2024-01-01", c(20)),
            format!("{},1,{},{v},99213,1.00,2099-01-01", c(21), p(21)),
            format!("{},1,{}", c(22), p(22)),
            format!("{},1,{},{v},99213,1.00,2024-01-01,{}", c(23), p(23), p(23)),
            format!("\"{}\"{},1,{},{v},99213,1.00,2024-01-01", c(24), c(24), p(24)),
            format!("{},1,\"{},{v},99213,1.00,2024-01-01", c(25), p(25)),
            format!("\"{}\n26\",1,{},{v},99213,1.00,2024-01-01", c(26), p(26)),
            format!("{},1,\"{}\n27\",{v},99213,1.00,2024-01-01", c(27), p(27)),
            // One claim of two patients.
            format!("{},1,{},{v},99213,1.00,2024-01-01", c(28), p(28)),
            format!("{},2,{},{v},99213,1.00,2024-01-01", c(28), p(29)),
        ])
    }

    fn parquet(&self, path: &Path) {
        let rows: Vec<String> = (400..420).map(|n| self.row(n, n, "3.00")).collect();
        let column = |place: usize| -> ArrayRef {
            let cells = rows.iter().map(|row| row.split(',').nth(place).unwrap_or_default());
            Arc::new(StringArray::from_iter_values(cells))
        };
        let columns = HEADER.iter().enumerate().map(|(place, name)| (*name, column(place)));
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let file = File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("written");
    }

    /// Files that are damaged as a whole, or are none: what is wrong with each, and its bytes.
    pub(super) fn damaged(&self) -> Vec<(&'static str, Vec<u8>)> {
        let header = HEADER.join(",");
        let good = self.row(1, 1, "10.00");
        let (claim, patient) = (self.claim(2), self.patient(2));
        let odd = |row: String| format!("{header}\n{good}\n{row}\n{good}\n").into_bytes();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let many = format!("{header}\n{}", format!("{good}\n").repeat(50_000));
        packed.write_all(many.as_bytes()).expect("packed");
        let mut cut = packed.finish().expect("packed");
        cut.truncate(cut.len() - 100);
        vec![
            ("too many fields", odd(format!("{good},{patient},{claim}"))),
            ("too few fields", odd(format!("{claim},{patient}"))),
            ("a stray quote", odd(format!("{claim},1,\"{patient}\"x,V1,1,1.00,2024-01-01"))),
            ("an open quote", odd(format!("{claim},1,\"{patient},V1,1,1.00,2024-01-01"))),
            ("no header", format!("{good}\n{good}\n").into_bytes()),
            ("a header of identifiers", format!("{claim},{patient},V,P,,\n{good}\n").into_bytes()),
            ("a column twice", format!("{header},{claim},{claim},claim_id\n{good},,,\n").into()),
            ("other delimiters", format!("{header}\n{good}\n").replace(',', "\u{1}").into()),
            (
                "broken letters",
                [odd(claim.clone()), patient.into_bytes(), vec![0xff, b',', 0xfe]].concat(),
            ),
            ("a packed file without its end", cut),
            ("half of a Parquet file", [b"PAR1".as_slice(), claim.as_bytes()].concat()),
            ("another format", [b"PK\x03\x04".as_slice(), claim.as_bytes()].concat()),
            ("one very long line", claim.repeat(200_000).into_bytes()),
            ("nothing", Vec::new()),
        ]
    }
}

fn cents(number: u32) -> String {
    format!("{}.{:02}", 10 + number % 90, number % 100)
}

fn text(rows: impl IntoIterator<Item = String>) -> String {
    rows.into_iter().fold(HEADER.join(",") + "\n", |text, row| text + &row + "\n")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
