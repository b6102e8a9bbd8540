//! Common names of the contract columns, most specific first.

/// Contract column → names in snake case. Line numbers are recognised by their words: see
/// `line_name`.
pub(super) const SYNONYMS: [(&str, &[&str]); 9] = [
    (
        "claim_id",
        &[
            "clm_id",
            "claim_number",
            "claim_no",
            "claim_num",
            "claimid",
            "icn",
            "dcn",
            "tcn",
            "claim_control_number",
            "clm_cntl_num",
            "claim_key",
            "claim",
            "clm_num",
        ],
    ),
    (
        "patient_id",
        &[
            "member_id",
            "bene_id",
            "desynpuf_id",
            "mrn",
            "beneficiary_id",
            "person_id",
            "patientid",
            "subscriber_id",
            "member_number",
            "mbi",
            "mbi_id",
            "bene_sk",
            "enrollee_id",
            "patient",
            "pat_id",
            "subject_id",
            "medical_record_number",
        ],
    ),
    (
        "provider_id",
        &[
            "npi",
            "prvdr_num",
            "rendering_npi",
            "rendering_provider",
            "billing_provider",
            "billing_npi",
            "provider_npi",
            "npi_number",
            "prf_physn_npi",
            "at_physn_npi",
            "rndrng_physn_npi",
            "prvdr_npi",
            "org_npi_num",
            "providerid",
            "provider_number",
            "attending_npi",
            "physician_id",
            "servicing_provider",
            "provider",
        ],
    ),
    (
        "procedure_code",
        &[
            "hcpcs_cd",
            "hcpcs",
            "hcpcs_code",
            "cpt",
            "cpt_code",
            "proc_cd",
            "proc_code",
            "procedurecode",
            "procedure_cd",
            "icd9_prcdr_cd_1",
            "icd_prcdr_cd1",
            "px_code",
            "service_code",
            "procedure",
        ],
    ),
    (
        "amount",
        &[
            "clm_pmt_amt",
            "line_nch_pmt_amt",
            "paid_amount",
            "billed_amount",
            "billed",
            "charge_amount",
            "charge",
            "charges",
            "paid",
            "paid_amt",
            "billed_amt",
            "allowed_amount",
            "total_charge",
            "payment",
            "line_sbmtd_chrg_amt",
            "cost",
            "pd_amt",
            "chrg_amt",
            "amt",
        ],
    ),
    (
        "date_of_service",
        &[
            "dos",
            "service_date",
            "from_date",
            "clm_from_dt",
            "fromdate",
            "date_service",
            "line_1st_expns_dt",
            "service_from_date",
            "service_dt",
            "svc_date",
            "claim_date",
            "start_date",
            "claim_start_date",
            "begin_date",
            "visit_date",
            "date",
        ],
    ),
    (
        "provider_name",
        &[
            "name",
            "prvdr_name",
            "full_name",
            "organization_name",
            "physician_name",
            "facility_name",
        ],
    ),
    (
        "specialty",
        &[
            "speciality",
            "specialty_description",
            "prvdr_spclty",
            "provider_type",
            "taxonomy",
            "specialty_code",
            "spclty",
        ],
    ),
    (
        "location",
        &["city", "address", "prvdr_state_cd", "state", "practice_location", "county", "site"],
    ),
];

/// Additional vocabulary of column names: a name made only of these words is not a value.
pub(super) const WORDS: &str = "
    account acct address adj adjudication adjusted adjustment admission admit affiliation age allowed amount amt
    authorization authorized balance batch begin beneficiary billed billing birth brand business cardholder
    carrier category cd charge charged check city claim clm cob code codes coinsurance coins copay cost country county
    coverage cov covered create created credential currency data date days ded deductible denial denied dep dependent
    desc description diag diagnosis discharge disp dispensed dob dose drug dt dx effective eligibility email employer
    encounter end enrollee entity enumeration episode ethnicity event expense facility fax fee fields file fill
    financial first flag from full gender generic group header home hosp hospital id identifier ids if in ind index
    indicator indicators inpatient insurance insured is key kind last legal length level license line list load local
    mailing mbi mbr med medicaid medical medicare member mi middle mod mode modified modifier modifiers mon month mrn
    name names national nbr ndc net network no note notes npi nr num number of official operating organization
    original other out outpatient outside owed own paid part patient pay payable payer payment payor pcp period
    person pharmacy phone physician place plan pmt policy pos position postal practice prefix prescriber primary
    principal prior procedure proc processed product prov provider prv prvdr px qty qualifier quantity race rate
    reactivation deactivation reason received rec record ref reference referral referring refill region relationship
    remark rendering replacement report responsibility result rev revenue revision role row run rx second secondary
    seq sequence service servicing sex site size source specialty ssn st start state status street sub submitted
    subscriber suffix sum supervising supply surgery svc switch system tax taxonomy tel telephone text the through
    thru tier time timestamp tin title to total transaction txn type typ unit units update updated us usd value
    version visit void year zip zipcode
";
