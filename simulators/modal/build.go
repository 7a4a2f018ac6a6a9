package modal

import (
	"errors"
	"fmt"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
)

// failingBuild makes builds fail whose Dockerfile contains a text.
type failingBuild struct{ text, message string }

// FailBuilds whose Dockerfile commands contain the text, with this message, from now on. An empty text is in all of them.
// A Dockerfile fails by itself when it has RUN exit 1 or RUN false, or a base that the registry does not have.
func (s *Server) FailBuilds(text, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = append(s.failing, failingBuild{text, message})
}

// MendBuilds undoes all FailBuilds.
func (s *Server) MendBuilds() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = nil
}

// build an image, now or over Options.ImageBuildTime, under the lock. A failed build is not cached: the next request for
// its content tries again, as a new image.
func (s *Server) build(img *image) {
	img.log.add(pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, fmt.Sprintf("Building image %s\n", img.id))
	if s.options.ImageBuildTime <= 0 {
		s.endBuild(img)
		return
	}
	s.timeline.after(s.options.ImageBuildTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endBuild(img)
	})
}

func (s *Server) endBuild(img *image) {
	if img.result != nil {
		return
	}
	fs, err := s.runBuild(img)
	if err != nil {
		img.log.add(pb.FileDescriptor_FILE_DESCRIPTOR_STDERR, err.Error()+"\n")
		exception := fmt.Sprintf("Image build for %s failed. See build logs for more details.", img.id)
		var pulled pullError
		if errors.As(err, &pulled) {
			exception += "\n" + pulled.Error()
		}
		img.result = resultOf(pb.GenericResult_GENERIC_STATUS_FAILURE, 1, exception)
		s.uncache(img)
	} else {
		img.fs = fs
		img.result = resultOf(pb.GenericResult_GENERIC_STATUS_SUCCESS, 0, "")
		img.log.add(pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, fmt.Sprintf("Built image %s\n", img.id))
	}
	img.log.close()
	close(img.done)
	s.log.Info("image built", "image", img.id, "status", img.result.GetStatus().String())
}

// pullError is why a base image could not be had: the exception of the build says so. Why a command failed is in its log
// alone. Source: github.com/modal-labs/modal-client/pull/3172.
type pullError struct{ error }

func (s *Server) runBuild(img *image) (*filesystem, error) {
	def := img.request.GetImage()
	parsed, err := parseDockerfile(def.GetDockerfileCommands())
	if err != nil {
		return nil, err
	}
	var fs *filesystem
	for step, line := range parsed {
		img.log.add(pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, fmt.Sprintf("\n=> Step %d: %s\n", step, line.text))
		if line.name == "FROM" {
			if fs, err = s.from(line.rest, def); err != nil {
				err = pullError{err}
			}
		} else {
			err = line.apply(fs)
		}
		if err == nil {
			err = s.configuredFailure(line)
		}
		if err != nil {
			return nil, err
		}
	}
	return fs, nil
}

func (s *Server) configuredFailure(line instruction) error {
	for _, failing := range s.failing {
		if strings.Contains(line.text, failing.text) {
			return errors.New(failing.message)
		}
	}
	return nil
}

// from gives the contents that a layer starts with: those of a base image by its name in the request, or of a registry.
func (s *Server) from(name string, def *pb.Image) (*filesystem, error) {
	for _, base := range def.GetBaseImages() {
		if base.GetDockerTag() == name {
			return s.images[base.GetImageId()].fs.clone(), nil
		}
	}
	if name == "scratch" {
		return nil, errors.New("images cannot be built from scratch")
	}
	return s.pull(name, def.GetImageRegistryConfig())
}

// ImageJoinStreaming streams the log of a build and, at its end, the result. It ends without one when its window is over;
// the SDK then asks again with the last entry it saw.
func (c *control) ImageJoinStreaming(
	req *pb.ImageJoinStreamingRequest, stream grpc.ServerStreamingServer[pb.ImageJoinStreamingResponse],
) error {
	c.mu.Lock()
	img, err := c.image(req.GetImageId())
	c.mu.Unlock()
	if err != nil {
		return err
	}
	reader, err := img.log.from(req.GetLastEntryId())
	if err != nil {
		return err
	}
	select {
	case <-img.done:
		if !req.GetIncludeLogsForFinished() {
			return stream.Send(c.buildEnd(img))
		}
	default:
	}
	window, stop := c.window(req.GetTimeout())
	defer stop()
	for {
		entries, ended, err := reader.next(stream.Context(), window)
		switch {
		case err != nil:
			return err
		case ended:
			return stream.Send(c.buildEnd(img))
		case len(entries) == 0:
			return nil
		}
		batch := pb.ImageJoinStreamingResponse_builder{EntryId: entries[len(entries)-1].id(), TaskLogs: taskLogs(entries)}
		if err := stream.Send(batch.Build()); err != nil {
			return err
		}
	}
}

func (c *control) buildEnd(img *image) *pb.ImageJoinStreamingResponse {
	<-img.done
	c.mu.Lock()
	defer c.mu.Unlock()
	end := pb.ImageJoinStreamingResponse_builder{Result: img.result, EntryId: img.log.lastID(), Eof: true}
	if img.built() {
		end.Metadata = img.metadata()
	}
	return end.Build()
}
