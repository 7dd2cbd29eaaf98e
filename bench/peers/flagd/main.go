// flagd's evaluator behind grpc-go, for where flagd's own server module cannot be had.
//
//	flagd FLAGS_FILE HOST:PORT
//
// It does what flagd's ResolveBoolean handler does: the context as a map, core's JSON evaluator,
// the answer.  grpc-go's own transport stands in for the connect handler on net/http of flagd.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	servicegrpc "buf.build/gen/go/open-feature/flagd/grpc/go/flagd/evaluation/v1/evaluationv1grpc"
	service "buf.build/gen/go/open-feature/flagd/protocolbuffers/go/flagd/evaluation/v1"
	"github.com/open-feature/flagd/core/pkg/evaluator"
	"github.com/open-feature/flagd/core/pkg/logger"
	"github.com/open-feature/flagd/core/pkg/store"
	"github.com/open-feature/flagd/core/pkg/sync"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

type flags struct {
	servicegrpc.UnimplementedServiceServer
	evaluator evaluator.IEvaluator
}

func (f *flags) ResolveBoolean(
	ctx context.Context, request *service.ResolveBooleanRequest,
) (*service.ResolveBooleanResponse, error) {
	value, variant, reason, metadata, err := f.evaluator.ResolveBooleanValue(
		ctx, "", request.GetFlagKey(), request.GetContext().AsMap())
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	told, err := structpb.NewStruct(metadata)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &service.ResolveBooleanResponse{
		Value: value, Variant: variant, Reason: reason, Metadata: told,
	}, nil
}

func serve(file, address string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	log := logger.NewLogger(zap.NewNop(), false)
	evaluated := evaluator.NewJSON(log, store.NewFlags())
	if _, _, err := evaluated.SetState(sync.DataSync{FlagData: string(text), Source: file}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	servicegrpc.RegisterServiceServer(server, &flags{evaluator: evaluated})
	fmt.Println("ready")
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: flagd FLAGS_FILE HOST:PORT")
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
