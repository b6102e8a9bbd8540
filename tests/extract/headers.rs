//! Headers as people have them: odd names, a title above, the other input, no record below; and
//! what is then advised. Never a word of a line that is no header.

use std::fmt::Write as _;

use claims_etl::totals::Cents;

use crate::support::program::{Call, KEY, Program};
use crate::support::test_env::{TestEnv, succeeded};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
const ROW: &str = "C1,P1,V1,99213,10.00,2024-01-01";

fn program() -> Program {
    let program = Program::new();
    program.write(
        "providers.csv",
        "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n",
    );
    program
}

/// A dry run over `claims.csv`.
fn run(program: &Program, arguments: &str) -> Call {
    let mut command = program.command(&format!(
        "run --dry-run --format json --claims claims.csv --providers providers.csv {arguments}"
    ));
    Call::of(command.env("CLAIMS_ETL_KEY", KEY))
}

/// Rows and dollars that a dry run would load.
fn loaded(program: &Program) -> (u64, String) {
    let call = run(program, "");
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    let report = call.json();
    let amount = report["amount"]["loaded"].as_str().expect("an amount").to_owned();
    (report["claims"]["loaded"].as_u64().expect("rows"), amount)
}

/// What a run, a check of the settings and a check of the file print.
fn everything_printed(program: &Program) -> [Call; 4] {
    [
        run(program, ""),
        program.call("check --claims claims.csv --providers providers.csv"),
        program.call("inspect claims.csv"),
        program.call("inspect claims.csv --format json"),
    ]
}

const ODD: &str = "\"Claim ID\",\"Patient\r\nID\",\" Provider ID \",\"Procedure \"\"CPT\"\" Code\",\
                   \"Amount, billed (\u{20ac})\",\"Date of Service\",\"Re\u{301}marque\",\"Notes\",\"\"";

#[test]
fn odd_names_are_a_header_and_are_proposed_as_they_must_be_written() {
    let program = program();
    let rows = "C1,P1,V1,A01,1.00,2024-01-01,x,y,z\nC2,P2,V1,A02,2.00,2024-01-02,x,y,z\n";
    program.write("claims.csv", &format!("{ODD}\n{rows}"));
    let call = run(&program, "");
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    let hint = call.json()["error"]["hint"].as_str().expect("a hint").to_owned();
    for line in [
        "claim_id = \"Claim ID\"",
        "patient_id = \"Patient\\r\\nID\"",
        "provider_id = \"Provider ID\"",
        "procedure_code = \"Procedure \\\"CPT\\\" Code\"",
        "amount = \"Amount, billed (\u{20ac})\"",
        "date_of_service = \"Date of Service\"",
    ] {
        assert!(hint.contains(line), "{line}: {hint}");
    }
    let message = call.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("the header has: Claim ID, Patient ID, Provider ID"), "{message}");
    // The proposal is a configuration that loads the file.
    let toml = &hint[hint.find("[claims.columns]").expect("a table")..];
    program.write("claims-etl.toml", toml);
    assert_eq!(loaded(&program), (2, "3.00".to_owned()));
    // So is what people type.
    program.write(
        "claims-etl.toml",
        "[claims.columns]\nclaim_id = \"claim id\"\npatient_id = \"Patient ID\"\n\
         provider_id = \"Provider ID\"\nprocedure_code = \"R\u{e9}marque\"\n\
         amount = 'Amount, billed (\u{20ac})'\ndate_of_service = \"Date of Service\"\n",
    );
    assert_eq!(loaded(&program), (2, "3.00".to_owned()));
}

#[test]
fn a_line_about_a_person_is_never_printed() {
    for title in [
        "Statement for CANARY-DOE MRN 1234",
        "Statement for CANARY-DOE,,,,,",
        "Patient,CANARY-DOE,Provider,CANARY-ROE,,",
        "Member ID,CANARY-DOE,Plan,CANARY-PLAN,Claim,CANARY-CLAIM",
    ] {
        let program = program();
        program.write("claims.csv", &format!("{title}\n\n{HEADER}\n{ROW}\n{ROW}\n"));
        for call in everything_printed(&program) {
            let all = format!("{}{}", call.stdout, call.stderr);
            assert_eq!(call.code, Some(2), "{title}: {all}");
            assert!(!all.contains("CANARY"), "{title}: {all}");
            assert!(all.contains("line 1 is no header; line 3 looks like one"), "{title}: {all}");
            assert!(all.contains("skip_lines = 2"), "{title}: {all}");
        }
        program.write("claims-etl.toml", "[claims]\nskip_lines = 2\n");
        assert_eq!(loaded(&program), (1, "10.00".to_owned()), "{title}");
    }
}

#[test]
fn a_file_without_a_header_is_recognised() {
    let program = program();
    for row in [
        "CANARY-1,CANARY-2,V1,99213,10.00,2024-01-01",
        "Claim-1,Patient-1,CANARY DOE",
        "CANARY",
        "CLM 1,PAT 1,CANARY DOE,CANARY ROE",
    ] {
        let other = row.replace('1', "2");
        program.write("claims.csv", &format!("{row}\n{other}\n{row}\n"));
        for call in everything_printed(&program) {
            let all = format!("{}{}", call.stdout, call.stderr);
            assert_eq!(call.code, Some(2), "{row}: {all}");
            assert!(!all.contains("CANARY"), "{row}: {all}");
            assert!(all.contains("line 1 is no header ("), "{row}: {all}");
            assert!(
                all.contains("claim_id = \\\"…\\\"") || all.contains("claim_id = \"…\""),
                "{all}"
            );
        }
    }
}

#[test]
fn a_name_that_may_be_a_value_is_withheld() {
    let program = program();
    program.write("claims.csv", &format!("{HEADER},CANARY000123,note\n{ROW},x,y\n"));
    for call in everything_printed(&program) {
        let all = format!("{}{}", call.stdout, call.stderr);
        assert_eq!(call.code, Some(0), "{all}");
        assert!(!all.contains("CANARY"), "{all}");
    }
    let call = program.call("check --claims claims.csv --providers providers.csv");
    assert!(call.stdout.contains("2 columns are not loaded: (not shown), note"), "{}", call.stdout);
}

#[test]
fn a_line_that_names_the_separator_is_passed_over() {
    for (line, separator) in [
        ("sep=;", ";"),
        ("\"sep=|\"", "|"),
        ("SEP=\t", "\t"),
        ("\u{feff}sep=,", ","),
        ("sep=^", "^"),
    ] {
        let program = program();
        let text = format!("{HEADER}\r\n{ROW}\r\n").replace(',', separator);
        program.write("claims.csv", &format!("{line}\r\n{text}"));
        assert_eq!(loaded(&program), (1, "10.00".to_owned()), "{line}");
        let call = program.call("inspect claims.csv --providers providers.csv");
        assert_eq!(call.code, Some(0), "{line}: {}", call.stdout);
    }
}

#[test]
fn swapped_files_are_recognised() {
    let program = Program::with_claims();
    for (arguments, message) in [
        (
            "--claims providers.csv --providers claims.csv",
            "claims: providers.csv holds providers, not claims, by its column names",
        ),
        (
            "--claims claims.csv --providers claims.csv",
            "providers: claims.csv holds claims, not providers, by its column names",
        ),
    ] {
        for command in ["check", "run --dry-run"] {
            let call = program.call(&format!("{command} {arguments}"));
            let all = format!("{}{}", call.stdout, call.stderr);
            assert_eq!(call.code, Some(2), "{all}");
            let bare = message.split_once(": ").expect("a place").1;
            assert!(all.contains(bare), "{command}: {all}");
            assert!(all.contains("are the files swapped?"), "{command}: {all}");
        }
    }
}

#[test]
fn a_file_with_a_header_alone_is_warned_of() {
    let program = Program::with_claims();
    program.write("claims.csv", &format!("{HEADER}\n"));
    let check = program.call("check").stdout;
    assert!(check.contains("warning: no record after the header"), "{check}");
    let check = program.call("inspect claims.csv").done();
    assert!(check.contains("! nothing to load"), "{check}");
    let run = program.call("run --dry-run");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.contains("claims: claims.csv holds no record after its header"),
        "{}",
        run.stderr
    );
    program.write("more.csv", &format!("{HEADER}\n{ROW}\n"));
    program.write("providers.csv", "provider_id,provider_name,specialty,location\n");
    let run = program.call("run --dry-run --claims claims.csv more.csv");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for warning in
        ["claims: claims.csv holds no record", "providers: providers.csv holds no record"]
    {
        assert!(run.stderr.contains(warning), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("more.csv holds"), "{}", run.stderr);
}

#[test]
fn a_hint_is_whole_where_no_name_is_left() {
    let program = program();
    program.write("claims.csv", "claim_id,patient_id\nC1,P1\n");
    let call = run(&program, "");
    let hint = call.json()["error"]["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.ends_with("amount = \"…\"\n  date_of_service = \"…\""), "{hint}");
}

#[test]
fn a_decimal_comma_is_recognised_and_read_when_it_is_configured() {
    let program = program();
    let mut text = HEADER.replace(',', ";") + "\n";
    for (claim, amount) in ["10,50", "1.234,56", "5", "7,25 \u{20ac}"].iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "C{claim};P1;V1;99213;{amount};2024-01-01");
    }
    program.write("claims.csv", &text);
    let call = run(&program, "--max-reject-ratio 1");
    assert_eq!(call.code, Some(4), "{}", call.stderr);
    let error = &call.json()["error"];
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("claims.csv: amounts have a decimal comma"), "{message}");
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.contains("[claims]\n  decimal = \",\""), "{hint}");
    let check = program.call("inspect claims.csv");
    assert_eq!(check.code, Some(4), "{}", check.stdout);
    assert!(check.stdout.contains("decimal = \",\""), "{}", check.stdout);
    program.write("claims-etl.toml", "[claims]\ndecimal = \",\"\n");
    assert_eq!(loaded(&program), (4, "1257.31".to_owned()));
    // The other way round.
    program.write("claims.csv", &format!("{HEADER}\n{ROW}\n"));
    let call = run(&program, "");
    let error = &call.json()["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.contains("a decimal point")));
    assert!(error["hint"].as_str().is_some_and(|text| text.contains("decimal = \".\"")));
}

#[test]
fn dates_of_another_format_are_named_with_the_line_to_write() {
    let program = program();
    for (days, line) in [
        (["31.01.2024", "01.02.2024"], "date_formats = [\"%d.%m.%Y\"]"),
        (["31/01/2024", "05/02/2024"], "date_formats = [\"%d/%m/%Y\"]"),
        (["31-Jan-2024", "05-Feb-2024"], "date_formats = [\"%d-%b-%Y\"]"),
        (["01-02-2024", "03-04-2024"], "date_formats = [\"%m-%d-%Y\"]   # or \"%d-%m-%Y\""),
        (["45322", "45323"], "day numbers of a spreadsheet"),
        (["soon", "later"], "claims.date_formats"),
    ] {
        let rows = days.map(|day| format!("C-{day},P1,V1,99213,10.00,{day}\n")).concat();
        program.write("claims.csv", &format!("{HEADER}\n{rows}"));
        for call in [run(&program, ""), program.call("inspect claims.csv --format json")] {
            assert_eq!(call.code, Some(4), "{line}: {}", call.stderr);
            let report = call.json();
            let report = if report.is_array() { &report[0] } else { &report };
            let hint = report["error"]["hint"].as_str().expect("a hint");
            assert!(hint.contains(line), "{line}: {hint}");
            assert!(!hint.contains("max-reject-ratio"), "{hint}");
        }
        let screen = program.call("inspect claims.csv").stdout;
        assert!(screen.contains(line), "{line}: {screen}");
        if line.starts_with("date_formats") {
            program.write("claims-etl.toml", &format!("[claims]\n{line}\n"));
            assert_eq!(loaded(&program), (2, "20.00".to_owned()), "{line}");
            std::fs::remove_file(program.path().join("claims-etl.toml")).expect("removed");
        }
    }
}

#[test]
fn a_rule_that_rejects_most_rows_is_named_instead_of_a_higher_limit() {
    let program = program();
    program.write("claims.csv", &format!("{HEADER}\n{ROW}\n,P1,V1,99213,10.00,2024-01-01\n"));
    let hint = run(&program, "").json()["error"]["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.starts_with("1 of them break one rule, claim_id_missing: "), "{hint}");
    assert!(!hint.contains("max-reject-ratio"), "{hint}");
    program.write(
        "claims.csv",
        &format!("{HEADER}\n{ROW}\n,P1,V1,99213,10.00,2024-01-01\nC3,P1,V1,99213,,2024-01-01\n"),
    );
    let hint = run(&program, "").json()["error"]["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.contains("raise --max-reject-ratio if so many rejects are expected"), "{hint}");
}

#[test]
fn of_hundreds_of_columns_a_few_are_named() {
    let program = program();
    let more: String = (1..=320).fold(String::new(), |all, n| all + &format!(",Other code {n}"));
    let cells = ",x".repeat(320);
    program.write("claims.csv", &format!("{HEADER}{more}\n{ROW}{cells}\n"));
    let named = "320 columns are not loaded: Other code 1, Other code 2, Other code 3, ";
    let check = program.call("check --claims claims.csv --providers providers.csv").stdout;
    assert!(check.contains(named), "{check}");
    assert!(check.lines().all(|line| line.len() < 600), "{check}");
    let screen = program.call("inspect claims.csv").done();
    assert!(screen.contains(&named[..40]), "{screen}");
    assert!(screen.lines().count() < 24, "{screen}");
    let mut command =
        program.command("run --dry-run --claims claims.csv --providers providers.csv");
    let run = Call::of(command.env("CLAIMS_ETL_KEY", KEY));
    assert!(run.stderr.contains(named), "{}", run.stderr);
    assert!(!run.stderr.contains("Other code 20"), "{}", run.stderr);
}

#[test]
fn a_template_with_an_empty_part_joins_names_and_locations_and_makes_no_identifier() {
    let mut env = TestEnv::new();
    env.settings.providers.sources = vec![env.write(
        "directory.csv",
        "NPI,Last,Org,City,State,Zip",
        &["V1,Roe,,Kearney,NE,68847", "V2,,Lake Clinic,,NE,68847", "V3,,,Kearney,,", "V4,,,,,"],
    )];
    env.settings.claims.sources = vec![env.write(
        "lines.csv",
        "claim,segment,patient_id,provider_id,procedure_code,amount,date_of_service",
        &["1,1,P1,V1,99213,1.00,2024-01-01", "1,,P1,V2,99213,2.00,2024-01-01"],
    )];
    let toml = "[claims.columns]\nclaim_id = \"{claim}-{segment}\"\n[providers.columns]\n\
                provider_id = \"NPI\"\nprovider_name = \"{Last}{Org}\"\nspecialty = \"\"\n\
                location = \"{City}, {State} {Zip}\"\n";
    let columns: claims_etl::config::Settings = toml::from_str(toml).expect("a configuration");
    env.settings.claims.columns = columns.claims.columns;
    env.settings.providers.columns = columns.providers.columns;
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.amount.loaded), (1, Cents(100)));
    assert_eq!(report.reject_reasons.get("claim_id_missing"), Some(&1));
    let directory =
        "SELECT concat_ws('|', provider_id, coalesce(provider_name, '-'), coalesce(location, '-'))
        FROM healthcare_analytics.providers_dim WHERE provider_id ~ '^V' ORDER BY 1";
    assert_eq!(
        env.rows(directory),
        ["V1|Roe|Kearney, NE 68847", "V2|Lake Clinic|NE 68847", "V3|-|Kearney", "V4|-|-"]
    );
}

#[test]
fn the_national_directory_is_a_preset() {
    let program = program();
    let header = "\"NPI\",\"Entity Type Code\",\"Provider Organization Name (Legal Business Name)\",\
         \"Provider Last Name (Legal Name)\",\"Provider First Name\",\
         \"Provider Business Practice Location Address City Name\",\
         \"Provider Business Practice Location Address State Name\",\
         \"Provider Business Practice Location Address Postal Code\",\
         \"Provider Business Practice Location Address Country Code (If outside U.S.)\",\
         \"Healthcare Provider Taxonomy Code_1\"";
    program.write(
        "npi.csv",
        &format!(
            "{header}\n\"1588667638\",\"1\",\"\",\"ROE\",\"ANN\",\"KEARNEY\",\"NE\",\"688472944\",\"US\",\"207X00000X\"\n\
             \"1497758544\",\"2\",\"LAKE CLINIC\",\"\",\"\",\"KEARNEY\",\"NE\",\"688472944\",\"US\",\"251G00000X\"\n"
        ),
    );
    let screen = program.call("inspect npi.csv");
    assert!(
        screen.stdout.contains("npi.csv: providers, read with --preset nppes"),
        "{}",
        screen.stdout
    );
    assert!(screen.stdout.lines().count() < 24, "{}", screen.stdout);
    let screen = program.call("inspect npi.csv --preset nppes").done();
    assert!(screen.contains("10 columns · 2 records") && screen.contains("✓"), "{screen}");
    program.write("claims.csv", &format!("{HEADER}\n{ROW}\n"));
    let plain = program.call("inspect claims.csv").done();
    assert!(!plain.contains("nppes"), "{plain}");
}
