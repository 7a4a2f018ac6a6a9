package modal

import pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"

type execution struct{}
func (e *execution) ended() bool { return true }
type router struct {
	pb.UnimplementedTaskCommandRouterServer
	*Server
}
