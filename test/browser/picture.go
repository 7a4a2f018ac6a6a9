package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
)

// minColours that a picture of a page has; a blank one has one or two.
const minColours = 50

// Look at a picture, and say what is wrong with it: that it is not of the size, or blank.
func Look(picture []byte, size Size) error {
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return fmt.Errorf("reading the picture: %w", err)
	}
	if got := img.Bounds().Size(); got != image.Pt(int(size.Width), int(size.Height)) {
		return fmt.Errorf("the picture is of %s, not of %dx%d", got, size.Width, size.Height)
	}
	colours := map[[4]uint32]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 2 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 2 {
			r, g, b, a := img.At(x, y).RGBA()
			colours[[4]uint32{r, g, b, a}] = true
		}
	}
	if len(colours) < minColours {
		return fmt.Errorf("the picture has %d colours: it is blank", len(colours))
	}
	return nil
}

// Difference of two pictures: the share of 8x8 blocks whose mean brightness is not alike. What fonts and machines draw
// differently stays small; a layout that has changed does not.
func Difference(a, b []byte) (float64, error) {
	first, err := png.Decode(bytes.NewReader(a))
	if err != nil {
		return 1, fmt.Errorf("reading the first picture: %w", err)
	}
	second, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return 1, fmt.Errorf("reading the second picture: %w", err)
	}
	if first.Bounds() != second.Bounds() {
		return 1, nil
	}
	const block, tolerance = 8, 24
	differ, all := 0, 0
	for y := 0; y+block <= first.Bounds().Dy(); y += block {
		for x := 0; x+block <= first.Bounds().Dx(); x += block {
			all++
			if d := mean(first, x, y, block) - mean(second, x, y, block); d > tolerance || d < -tolerance {
				differ++
			}
		}
	}
	return float64(differ) / float64(all), nil
}

// mean brightness of a block, from 0 to 255.
func mean(img image.Image, x, y, size int) int {
	sum := 0
	for dy := range size {
		for dx := range size {
			r, g, b, _ := img.At(x+dx, y+dy).RGBA()
			sum += int(299*r+587*g+114*b) / 1000 >> 8
		}
	}
	return sum / (size * size)
}
