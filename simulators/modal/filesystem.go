package modal

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// filesystem is what is known of an image's contents: enough to tell whether a program exists in it.
type filesystem struct {
	// files by absolute path.
	files map[string]bool
	// trees are directories below which every program is taken to exist.
	trees   []string
	env     map[string]string
	workdir string
}

func (f *filesystem) clone() *filesystem {
	return &filesystem{files: maps.Clone(f.files), trees: slices.Clone(f.trees), env: maps.Clone(f.env), workdir: f.workdir}
}

// defaultPath is where programs are looked for when the image sets no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// has tells whether a program, as a command names it, exists.
func (f *filesystem) has(program, workdir string) bool {
	if !strings.Contains(program, "/") {
		search := f.env["PATH"]
		if search == "" {
			search = defaultPath
		}
		return slices.ContainsFunc(strings.Split(search, ":"), func(dir string) bool { return f.hasFile(path.Join(dir, program)) })
	}
	if !path.IsAbs(program) {
		if workdir == "" {
			workdir = f.workdir
		}
		program = path.Join("/", workdir, program)
	}
	return f.hasFile(path.Clean(program))
}

func (f *filesystem) hasFile(file string) bool {
	if f.files[file] {
		return true
	}
	return slices.ContainsFunc(f.trees, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
}

// add a file, or a directory below which everything exists when it ends in a slash.
func (f *filesystem) add(file string) {
	if strings.HasSuffix(file, "/") {
		f.trees = append(f.trees, path.Clean(file))
		return
	}
	f.files[path.Clean(file)] = true
}

// systemDirs hold the system's own programs: to mention one does not put programs there.
var systemDirs = map[string]bool{
	"/": true, "/bin": true, "/sbin": true, "/usr": true, "/usr/bin": true, "/usr/sbin": true, "/usr/lib": true, "/lib": true,
	"/usr/local": true, "/usr/local/bin": true, "/usr/local/sbin": true, "/etc": true, "/var": true, "/var/lib": true,
	"/opt": true, "/tmp": true, "/root": true, "/home": true, "/dev": true, "/proc": true, "/sys": true, "/run": true,
}

// mention of an absolute path by a RUN or WORKDIR line: the simple rule is that the line then made that file, or the
// directory with all its programs.
func (f *filesystem) mention(file string) {
	file = path.Clean(file)
	if systemDirs[file] {
		return
	}
	f.files[file] = true
	f.trees = append(f.trees, file)
}
