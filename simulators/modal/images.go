package modal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// image is one build of a layer. It is in the cache by its content until a build of it fails or it is deleted.
type image struct {
	id      string
	key     [sha256.Size]byte
	app     *app
	request *pb.ImageGetOrCreateRequest
	created time.Time
	log     *logs
	fs      *filesystem
	hits    int
	deleted bool
	// result is nil while it is being built.
	result *pb.GenericResult
	done   chan struct{}
}

// Image is one build of a layer, as it is now.
type Image struct {
	ID, AppID string
	// Commands of the Dockerfile, FROM first.
	Commands       []string
	BaseImageID    string
	BuilderVersion string
	Created        time.Time
	// Status of the build: UNSPECIFIED while it goes on.
	Status    pb.GenericResult_GenericStatus
	Exception string
	Log       string
	// CacheHits is how often the image was asked for again and not built again.
	CacheHits int
	Request   *pb.ImageGetOrCreateRequest
}

// builderVersions that Modal knows, modal.com/docs/guide/images#image-builder-version-updates.
var builderVersions = []string{"2023.12", "2024.04", "2024.10", "2025.06", "PREVIEW"}

// Images ever built, oldest first: their number is the number of builds.
func (s *Server) Images() []Image {
	s.timeline.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Image, 0, len(s.imageOrder))
	for _, img := range s.imageOrder {
		view := Image{
			ID: img.id, AppID: img.app.id, Commands: img.request.GetImage().GetDockerfileCommands(),
			BuilderVersion: img.request.GetBuilderVersion(), Created: img.created, CacheHits: img.hits, Log: img.log.text(),
			Status: img.result.GetStatus(), Exception: img.result.GetException(), Request: img.request,
		}
		if bases := img.request.GetImage().GetBaseImages(); len(bases) > 0 {
			view.BaseImageID = bases[0].GetImageId()
		}
		all = append(all, view)
	}
	return all
}

// ImageGetOrCreate gives the image of a content: built before, being built, or to be built now. The result is set for one that
// was built before alone: whoever has it built waits for it.
func (c *control) ImageGetOrCreate(_ context.Context, req *pb.ImageGetOrCreateRequest) (*pb.ImageGetOrCreateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	owner, err := c.checkImage(req)
	if err != nil {
		return nil, err
	}
	key, isNew := c.imageKey(req), false
	found := c.imageCache[string(key[:])]
	if found == nil || req.GetForceBuild() || req.GetIgnoreCache() {
		isNew = true
		found = &image{
			id: c.ids.next("im"), key: key, app: owner, created: c.clock.Now(), log: newLogs(c.clock),
			request: proto.CloneOf(req), done: make(chan struct{}),
		}
		c.images[found.id] = found
		c.imageOrder = append(c.imageOrder, found)
		if !req.GetIgnoreCache() {
			c.imageCache[string(key[:])] = found
		}
		c.build(found)
	} else {
		found.hits++
	}
	answer := pb.ImageGetOrCreateResponse_builder{ImageId: found.id}
	if !isNew {
		answer.Result = found.result
	}
	if !isNew && found.built() {
		answer.Metadata = found.metadata()
	}
	return answer.Build(), nil
}

// checkImage refuses what is not an image's definition, under the lock.
func (s *Server) checkImage(req *pb.ImageGetOrCreateRequest) (*app, error) {
	owner, err := s.runningApp(req.GetAppId())
	if err != nil {
		return nil, err
	}
	def := req.GetImage()
	if def == nil || len(def.GetDockerfileCommands()) == 0 {
		return nil, invalid("Image has no Dockerfile commands")
	}
	if !slices.Contains(builderVersions, req.GetBuilderVersion()) {
		return nil, invalid("Image builder version '%s' is not supported", req.GetBuilderVersion())
	}
	if _, err := parseDockerfile(def.GetDockerfileCommands()); err != nil {
		return nil, invalid("%s", err)
	}
	for _, base := range def.GetBaseImages() {
		if found := s.images[base.GetImageId()]; found == nil || found.deleted {
			return nil, notFound("Image '%s' not found", base.GetImageId())
		} else if !found.built() {
			return nil, invalid("Base image '%s' is not built", base.GetImageId())
		}
	}
	if _, err := s.mergeSecrets(def.GetSecretIds()); err != nil {
		return nil, err
	}
	if id := def.GetImageRegistryConfig().GetSecretId(); id != "" && s.secrets[id] == nil {
		return nil, notFound("Secret '%s' not found", id)
	}
	return owner, checkGPU(def.GetGpuConfig())
}

// imageKey is equal for equal contents: commands, base images, GPU, builder version, and the credentials of the registry,
// since a private image is for those only who may pull it. The app and the secrets' IDs are no part of it; the SDK makes a
// new ephemeral secret for each build of one layer.
func (s *Server) imageKey(req *pb.ImageGetOrCreateRequest) [sha256.Size]byte {
	var bases []string
	for _, base := range req.GetImage().GetBaseImages() {
		bases = append(bases, base.GetDockerTag()+"="+base.GetImageId())
	}
	gpu := req.GetImage().GetGpuConfig()
	username, password, _ := s.credentials(req.GetImage().GetImageRegistryConfig())
	text, _ := json.Marshal([]any{
		req.GetBuilderVersion(), req.GetImage().GetDockerfileCommands(), bases, gpu.GetGpuType(), gpu.GetCount(),
		req.GetImage().GetBuildArgs(), username, password,
	})
	return sha256.Sum256(text)
}

// ImageFromId tells whether an image exists.
func (c *control) ImageFromId(_ context.Context, req *pb.ImageFromIdRequest) (*pb.ImageFromIdResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := c.image(req.GetImageId())
	if err != nil {
		return nil, err
	}
	return pb.ImageFromIdResponse_builder{ImageId: found.id, Metadata: found.metadata()}.Build(), nil
}

// ImageDelete removes an image: nothing can be made from it any more, and the next request for its content builds anew.
func (c *control) ImageDelete(_ context.Context, req *pb.ImageDeleteRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := c.image(req.GetImageId())
	if err != nil {
		return nil, err
	}
	found.deleted = true
	c.uncache(found)
	return &emptypb.Empty{}, nil
}

// DeleteImage as from the dashboard.
func (s *Server) DeleteImage(id string) error {
	_, err := (&control{Server: s}).ImageDelete(context.Background(), pb.ImageDeleteRequest_builder{ImageId: id}.Build())
	return err
}

func (s *Server) image(id string) (*image, error) {
	found := s.images[id]
	if found == nil || found.deleted {
		return nil, notFound("Image '%s' not found", id)
	}
	return found, nil
}

func (s *Server) uncache(img *image) {
	if s.imageCache[string(img.key[:])] == img {
		delete(s.imageCache, string(img.key[:]))
	}
}

func (i *image) built() bool { return i.result.GetStatus() == pb.GenericResult_GENERIC_STATUS_SUCCESS }

func (i *image) metadata() *pb.ImageMetadata {
	version := i.request.GetBuilderVersion()
	meta := pb.ImageMetadata_builder{ImageBuilderVersion: &version}
	if i.fs != nil && i.fs.workdir != "/" {
		meta.Workdir = &i.fs.workdir
	}
	return meta.Build()
}
