// Command check makes what a release is made of, twice, from two clones in different folders and with nothing remembered from
// the first time, and looks at it: the image for all platforms, and the plugin's archives, SBOMs and checksums. Nothing is
// published; the registry is one in memory, which also has a stand-in for the image's base.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := check(*root); err != nil {
		fmt.Fprintln(os.Stderr, "the release cannot be made as it should be:", err)
		os.Exit(1)
	}
	fmt.Println("a release can be made")
}

func check(root string) error {
	work, err := os.MkdirTemp("", "release-check-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	registry, err := startRegistry()
	if err != nil {
		return err
	}
	var images, files [2]map[string]string
	source := root
	for i, folder := range []string{"one", "another/and/deeper"} {
		clone := filepath.Join(work, folder)
		if err := run("", nil, "git", "clone", "--quiet", source, clone); err != nil {
			return err
		}
		// Both are of one commit, whatever happens at root meanwhile.
		source = clone
		// Only one platform is built again with nothing remembered: Go's own cache is keyed by what goes in, and the
		// linker's work is done anew for all of them.
		var remember []string
		platforms := allPlatforms
		if i == 1 {
			remember = []string{"GOCACHE=" + filepath.Join(work, "cache"), "KOCACHE=" + filepath.Join(work, "ko")}
			platforms = allPlatforms[:1]
		}
		if images[i], err = registry.image(clone, remember, platforms); err != nil {
			return err
		}
		if files[i], err = archives(clone); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(work, "cache")); err != nil {
			return err
		}
	}
	if err := same("image", images[0], images[1]); err != nil {
		return err
	}
	return same("file", files[0], files[1])
}

// same fails when something that was made twice differs, or nothing was made twice.
func same(what string, first, second map[string]string) error {
	if len(second) == 0 {
		return fmt.Errorf("no %s was made", what)
	}
	for name, digest := range second {
		if first[name] != digest {
			return fmt.Errorf("%s %s is not the same when it is made again: %s, then %s", what, name, first[name], digest)
		}
		fmt.Printf("%s %s: %s, twice\n", what, name, digest)
	}
	return nil
}
