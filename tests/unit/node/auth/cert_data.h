/* tests/unit/node/auth/cert_data.h: a CA, certificates of it (web; second, which is revoked; one for
 * servers alone; one that ended in 2021), and revocation lists of it and of another CA, with the same
 * serial number: made once with the openssl command line, valid until 2120. */
#ifndef COFFER_TEST_CERT_DATA_H
#define COFFER_TEST_CERT_DATA_H

/* Newlines as JSON writes them. */
#define PEM_CA \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIBVzCB/qADAgECAgIQBDAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdUZXN0IENB\\n" \
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdU\\n" \
    "ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEV/iav22cjhQ8qgz+2eXh\\n" \
    "4RvmAaP8u70SFfE8jMMDbf2NfT6GFHCwen4VCET7loza3J6Cq+gAmsiwnWaTcyKa\\n" \
    "RaNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUlOzunQBK5/kgta2ysNXX\\n" \
    "orbaHwcwDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMCA0gAMEUCIQCIxlonZNAL\\n" \
    "wLBlLk2Yn5ZnZFL+LPqOwnfoQyju8m4vjQIgDXvl3FA/GIXgi3atsHauDHHWFQ/q\\n" \
    "YMW6Cc6kQjVvZV0=\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_OTHER \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIBWTCCAQCgAwIBAgICEAUwCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIT3RoZXIg\\n" \
    "Q0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBMxETAPBgNVBAMM\\n" \
    "CE90aGVyIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnPpfkFf9uUAe3X+c\\n" \
    "97LUjDW3tv0TRTUysDeAFDP2W2CLTbv/ytU08eUouWm+4EszNWW7XRBKM+0Cke4l\\n" \
    "PvuNAaNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUjqaob0AyNorvjy1M\\n" \
    "/kjVbBXP8GowDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMCA0cAMEQCIB/EhPp8\\n" \
    "3poBHR+itg+1lzNdJZY9R9Qru0RhjF5oyiDEAiBYFh9uxB0I6mNfqHWHenLrm8su\\n" \
    "PWPDxEqS6yBnMj+p/A==\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_CLIENT \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIB5TCCAYugAwIBAgICEAAwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBD\\n" \
    "QTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowHDEMMAoGA1UEAwwD\\n" \
    "d2ViMQwwCgYDVQQLDANvcHMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASTmC53\\n" \
    "1H+EpoEtiq06auLlwNtLmToo23iPjhAqWnfDlAzVFWaGCWaTfILxcdAiQno/RCZE\\n" \
    "XjbisMNKw4vwTxWQo4HEMIHBMAkGA1UdEwQCMAAwHQYDVR0OBBYEFNKBRkhLgzB7\\n" \
    "43ViuLvCtQNmhSNXMB8GA1UdIwQYMBaAFJTs7p0ASuf5ILWtsrDV16K22h8HMBMG\\n" \
    "A1UdJQQMMAoGCCsGAQUFBwMCMEUGA1UdEQQ+MDyCD3dlYi5leGFtcGxlLmNvbYEP\\n" \
    "b3BzQGV4YW1wbGUuY29thhhzcGlmZmU6Ly9leGFtcGxlLmNvbS93ZWIwGAYJKwYB\\n" \
    "BAGGjR8BBAsMCWJsdWUtdGVhbTAKBggqhkjOPQQDAgNIADBFAiEA7v2HxZ6SDAuC\\n" \
    "GWOEamF60uc3HQTEgryZrgOov1fsfrcCIHuUjmxKYOmRc+DEnDIb+hSQoFr9v4yO\\n" \
    "POkcT/JtcpEm\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_SECOND \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIB5zCCAY6gAwIBAgICEAEwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBD\\n" \
    "QTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowHzEPMA0GA1UEAwwG\\n" \
    "c2Vjb25kMQwwCgYDVQQLDANkZXYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS/\\n" \
    "ivuX0DoiKCEdDIT32oZiHfhAkaSZlbLVLfEhwB1XQ/CY+fM4xm7yCBhm1wtV69ay\\n" \
    "QJNbhmZn6xGq71h0N5NGo4HEMIHBMAkGA1UdEwQCMAAwHQYDVR0OBBYEFL/tnpQ3\\n" \
    "cK96DzAttH4/Zf8leJTtMB8GA1UdIwQYMBaAFJTs7p0ASuf5ILWtsrDV16K22h8H\\n" \
    "MBMGA1UdJQQMMAoGCCsGAQUFBwMCMEUGA1UdEQQ+MDyCD3dlYi5leGFtcGxlLmNv\\n" \
    "bYEPb3BzQGV4YW1wbGUuY29thhhzcGlmZmU6Ly9leGFtcGxlLmNvbS93ZWIwGAYJ\\n" \
    "KwYBBAGGjR8BBAsMCWJsdWUtdGVhbTAKBggqhkjOPQQDAgNHADBEAiBUMUEQqpzt\\n" \
    "hJnDw2V4mrFF97/wvdwpVoL6TXl5jeKZcQIgbEqYDLs0RHRG8eKkMC55NX2t/peP\\n" \
    "jp9z45W0u0q14A8=\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_SERVER \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIBdjCCAR2gAwIBAgICEAIwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBD\\n" \
    "QTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowETEPMA0GA1UEAwwG\\n" \
    "c2VydmVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUrOmoneK1PvXCi2yros0\\n" \
    "cMyti2Qu7kqx0qI4jzrnxsPqD8Ci+YRvjqmaOKodekXZwVoGIIKg9pV8qa4CiZm3\\n" \
    "+aNiMGAwCQYDVR0TBAIwADATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQU\\n" \
    "nuGlSWfM4an61zbOKjYwG5/m6MowHwYDVR0jBBgwFoAUlOzunQBK5/kgta2ysNXX\\n" \
    "orbaHwcwCgYIKoZIzj0EAwIDRwAwRAIgCuIHnPxV/GVnb0a4gXUTWByOsn2jzSo/\\n" \
    "CUGS4hNk/1ECIB8p89nx4SW2Fetgx3PjCKpt5Ire9ejwWebXqniXZEB3\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_OLD \
    "-----BEGIN CERTIFICATE-----\\n" \
    "MIIB1TCCAXugAwIBAgICEAMwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBD\\n" \
    "QTAeFw0yMDAxMDEwMDAwMDBaFw0yMTAxMDEwMDAwMDBaMA4xDDAKBgNVBAMMA29s\\n" \
    "ZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDt1qI67TPA5zLa9cRu0Xu6/A2fE\\n" \
    "7hfR1yndQe6r867RptYBBk7Pln/4WybOoZ9E6zBhMCkJxc27Nzu5szyAOUqjgcQw\\n" \
    "gcEwCQYDVR0TBAIwADAdBgNVHQ4EFgQUWRS+SjXBu98jOfzwLzv+UWFyHZswHwYD\\n" \
    "VR0jBBgwFoAUlOzunQBK5/kgta2ysNXXorbaHwcwEwYDVR0lBAwwCgYIKwYBBQUH\\n" \
    "AwIwRQYDVR0RBD4wPIIPd2ViLmV4YW1wbGUuY29tgQ9vcHNAZXhhbXBsZS5jb22G\\n" \
    "GHNwaWZmZTovL2V4YW1wbGUuY29tL3dlYjAYBgkrBgEEAYaNHwEECwwJYmx1ZS10\\n" \
    "ZWFtMAoGCCqGSM49BAMCA0gAMEUCIFGiPpdUT6+BvGiJ5k7iUwIalXEBpCBB28pD\\n" \
    "ajPva68nAiEAv6Va9nXfyev6DYfapXDCjj5ljI6Kc9dct/PQ8py/3Ag=\\n" \
    "-----END CERTIFICATE-----\\n"

#define PEM_CA_CRL \
    "-----BEGIN X509 CRL-----\\n" \
    "MIGwMFcwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBDQRcNMjYxMTIzMTU1\\n" \
    "MzIzWhgPMjEyNjEwMzAxNTUzMjNaMBUwEwICEAEXDTI2MTEyMzE1NTMyM1owCgYI\\n" \
    "KoZIzj0EAwIDSQAwRgIhAJmu1cUJu9jt+UWmUaxOghGhiq6/NIWrfHpaB9NSLGHH\\n" \
    "AiEA78cqkyE1IAHMDTz972ZhsLtVdzMtsrkRdehikD4d9Ig=\\n" \
    "-----END X509 CRL-----\\n"

#define PEM_OTHER_CRL \
    "-----BEGIN X509 CRL-----\\n" \
    "MIGwMFgwCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIT3RoZXIgQ0EXDTI2MTEyMzE1\\n" \
    "NTMyM1oYDzIxMjYxMDMwMTU1MzIzWjAVMBMCAhABFw0yNjExMjMxNTUzMjNaMAoG\\n" \
    "CCqGSM49BAMCA0gAMEUCIQCrTGcWXjX4/l49iEiX+HEy6tNPSpJDx25TXM4sRSyS\\n" \
    "LAIgUH8/hCM8pFaU3byev4rQSckRBZ0ph9aARypiBKKJfBs=\\n" \
    "-----END X509 CRL-----\\n"

#endif
