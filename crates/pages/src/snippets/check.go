package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func pool(name string) *x509.CertPool {
	text, err := os.ReadFile(name)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		refuse(fmt.Errorf("%s: no certificates", name))
	}
	return pool
}

func refuse(err error) {
	fmt.Println("refused:", err)
	os.Exit(1)
}

func main() {
	text, err := os.ReadFile("device.pem")
	if err != nil {
		refuse(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		refuse(fmt.Errorf("device.pem: no certificate"))
	}
	device, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		refuse(err)
	}
	chains, err := device.Verify(x509.VerifyOptions{
		Roots:         pool("roots.pem"),
		Intermediates: pool("chain.pem"),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		refuse(err)
	}
	// Revocation: Go leaves it to us. crl.pem holds every CRL of the page.
	text, err = os.ReadFile("crl.pem")
	if err != nil {
		refuse(err)
	}
	asked := false
	for block, text = pem.Decode(text); block != nil; block, text = pem.Decode(text) {
		crl, err := x509.ParseRevocationList(block.Bytes)
		if err != nil || crl.CheckSignatureFrom(chains[0][1]) != nil {
			continue
		}
		asked = true
		for _, one := range crl.RevokedCertificates {
			if one.SerialNumber.Cmp(device.SerialNumber) == 0 {
				refuse(fmt.Errorf("revoked %s", one.RevocationTime))
			}
		}
	}
	if !asked {
		refuse(fmt.Errorf("no CRL of its issuer"))
	}
	// A chain is not enough: ask where the key lives.
	for _, policy := range device.PolicyIdentifiers {
		if policy.String() == "1.3.6.1.4.1.32473.27071.2.1" {
			fmt.Println("accepted: a hardware TPM")
			return
		}
	}
	refuse(fmt.Errorf("no policy says that the key lives in a hardware TPM"))
}
