#!/bin/sh
# Manufacture a software TPM once, with a vendor's EK certificate; then run it. Software vendor, software TPM: a demo.
set -eu
tpm=/var/lib/holdfast/tpm
if [ ! -e "$tpm/manufactured" ]; then
    mkdir -p "$tpm" /var/lib/holdfast/vendor
    vendor=/var/lib/holdfast/vendor
    cat >"$vendor/localca.conf" <<CONF
statedir = $vendor
signingkey = $vendor/signkey.pem
issuercert = $vendor/issuercert.pem
certserial = $vendor/certserial
CONF
    printf '%s\n' '--platform-manufacturer Example' '--platform-version 1' '--platform-model demo' >"$vendor/localca.options"
    cat >"$vendor/setup.conf" <<CONF
create_certs_tool = swtpm_localca
create_certs_tool_config = $vendor/localca.conf
create_certs_tool_options = $vendor/localca.options
active_pcr_banks = sha256
CONF
    swtpm_setup --tpm2 --tpmstate "$tpm" --config "$vendor/setup.conf" --create-ek-cert --lock-nvram --overwrite
    cp "$vendor/issuercert.pem" /vendor/issuercert.pem
    {
        printf '[[anchor]]\nname = "demo-tpm-vendor"\nkind = "software"\nmanufacturers = ["id:00001014"]\n'
        printf 'source = "swtpm_localca in the device container"\nadded = %s\nwhy = "the demo vendor"\n' "$(date -u +%F)"
        printf 'certificate = """\n%s\n"""\n' "$(cat "$vendor/swtpm-localca-rootca-cert.pem")"
    } >/vendor/vendor.toml
    chmod 0644 /vendor/vendor.toml /vendor/issuercert.pem
    touch "$tpm/manufactured"
fi
exec swtpm socket --tpm2 --tpmstate "dir=$tpm" --flags not-need-init,startup-clear \
    --server type=tcp,port=2321,bindaddr=127.0.0.1 --ctrl type=tcp,port=2322,bindaddr=127.0.0.1
