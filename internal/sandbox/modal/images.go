package modal

import (
	"context"
	"errors"

	sdk "github.com/modal-labs/libmodal/modal-go"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/scrub"
)

// BuildImage implements sandbox.Provider.
func (p *provider) BuildImage(ctx context.Context, recipe sandbox.Recipe) (string, error) {
	if recipe.ID != "" {
		return recipe.ID, p.CheckImage(ctx, recipe.ID)
	}
	app, err := p.lookUpApp(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	image, err := p.pull(ctx, recipe)
	if err != nil {
		return "", err
	}
	for _, layer := range recipe.Layers {
		image = image.DockerfileCommands(layer, nil)
	}
	ctx, log := withBuildLog(ctx)
	built, err := image.Build(ctx, app)
	if err != nil {
		return "", buildFault(p.classify("building the image", err), log)
	}
	return built.ImageID, nil
}

// buildFault is an error of a build, with what the build said last.
func buildFault(err error, log *buildLog) error {
	var failed *fault.Error
	if !errors.As(err, &failed) || failed.Class != fault.Invalid {
		return err
	}
	failed.Message = scrub.Text(failed.Message)
	if said := log.end(); said != "" {
		failed.Message += "\n" + said
	}
	return failed
}

// pull gives the image that a recipe begins with.
func (p *provider) pull(ctx context.Context, recipe sandbox.Recipe) (*sdk.Image, error) {
	if recipe.Registry == nil {
		return p.client.Images.FromRegistry(recipe.Base, nil), nil
	}
	secret, err := p.registrySecret(ctx, recipe.Registry)
	if err != nil {
		return nil, err
	}
	switch recipe.Registry.Type {
	case v1alpha1.RegistryECR:
		return p.client.Images.FromAwsEcr(recipe.Base, secret), nil
	case v1alpha1.RegistryArtifactRegistry:
		return p.client.Images.FromGcpArtifactRegistry(recipe.Base, secret), nil
	default:
		return p.client.Images.FromRegistry(recipe.Base, &sdk.ImageFromRegistryParams{Secret: secret}), nil
	}
}

func (p *provider) registrySecret(ctx context.Context, registry *sandbox.Registry) (*sdk.Secret, error) {
	const op = "giving Modal the registry's credentials"
	if registry.ModalSecret != "" {
		secret, err := p.client.Secrets.FromName(ctx, registry.ModalSecret, &sdk.SecretFromNameParams{Environment: p.environment})
		if err != nil {
			return nil, p.classify("looking up Modal Secret "+registry.ModalSecret, err)
		}
		return secret, nil
	}
	values := make(map[string]string, len(registry.Values))
	for key, value := range registry.Values {
		values[key] = value.Reveal()
	}
	secret, err := p.client.Secrets.FromMap(ctx, values, &sdk.SecretFromMapParams{Environment: p.environment})
	if err != nil {
		return nil, p.classify(op, err)
	}
	return secret, nil
}

// CheckImage implements sandbox.Provider.
func (p *provider) CheckImage(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := p.client.Images.FromID(ctx, id); err != nil {
		return p.classify("looking up image "+id, err)
	}
	return nil
}
