package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the endings of what a release holds, and how many of each when it is made for all platforms.
var wanted = map[string]int{".tar.gz": 4, ".zip": 1, ".cdx.json": 5, ".tgz": 1, ".yaml": 4}

// archives, SBOMs, chart and manifests are made from a clone; gives each file's checksum.
func archives(clone string) (map[string]string, error) {
	if err := run(clone, nil, "bash", "-euc", `exec "$(go -C hack/release tool -n goreleaser)" "$@"`, "goreleaser", "release", "--snapshot", "--clean", "--skip=sign,publish"); err != nil {
		return nil, err
	}
	found, count := map[string]string{}, map[string]int{}
	sums, err := os.Open(filepath.Join(clone, "dist/checksums.txt"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = sums.Close() }()
	for lines := bufio.NewScanner(sums); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return nil, fmt.Errorf("checksums.txt has the line %q", lines.Text())
		}
		content, err := read(clone, name)
		if err != nil {
			return nil, err
		}
		if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
			return nil, fmt.Errorf("checksums.txt is wrong about %s", name)
		}
		if err := sbom(name, content); err != nil {
			return nil, err
		}
		found[name] = sum
		for ending := range wanted {
			if strings.HasSuffix(name, ending) {
				count[ending]++
			}
		}
	}
	for ending, n := range wanted {
		if count[ending] != n {
			return nil, fmt.Errorf("%d files end with %s, not %d: %v", count[ending], ending, n, found)
		}
	}
	return found, nil
}

// read a file of the release, wherever it was made.
func read(clone, name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(clone, "dist", name))
	if os.IsNotExist(err) {
		return os.ReadFile(filepath.Join(clone, "out/release", name))
	}
	return content, err
}

// sbom must name what the plugin is made of.
func sbom(name string, content []byte) error {
	if !strings.HasSuffix(name, ".cdx.json") {
		return nil
	}
	var bom struct {
		BOMFormat  string `json:"bomFormat"`
		Components []struct {
			PURL string `json:"purl"`
		} `json:"components"`
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, component := range bom.Components {
		if strings.HasPrefix(component.PURL, "pkg:golang/k8s.io/client-go@") {
			return nil
		}
	}
	return fmt.Errorf("%s names %d components, and client-go is not among them", name, len(bom.Components))
}
