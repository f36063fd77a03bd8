# frozen_string_literal: true

require_relative "../program"

module Transfer
  module Onnx
    module Image
      # Decoded pixels: 8-bit samples, `channels` per pixel, rows from the top.
      Raster = ::Data.define(:width, :height, :channels, :bytes) do
        # @return [Array<Integer>]
        def shape = [height, width, channels]
      end

      # Conversion of pixels to upright RGB, with Pillow's rounding, computed by ONNX Runtime.
      module Pixels
        # Steps of an EXIF orientation: whether rows and columns change places, then which axes are reversed.
        TURNS = { 2 => [false, [1]], 3 => [false, [0, 1]], 4 => [false, [0]], 5 => [true, []], 6 => [true, [1]],
                  7 => [true, [0, 1]], 8 => [true, [0]] }.freeze
        # Elements of an axis: from, till and step. All of them backwards, and every other one.
        BACKWARDS = [-1, -(2**62), -1].freeze
        EVEN = [0, 2**62, 2].freeze
        private_constant :TURNS, :BACKWARDS, :EVEN

        @programs = {}
        @mutex = Mutex.new

        class << self
          # @param raster [Raster]
          # @param orientation [Integer] of EXIF
          # @return [Raster]
          def upright(raster, orientation)
            return raster unless TURNS.key?(orientation)

            convert(raster, [:upright, orientation]) do |program, image|
              swapped, reversed = TURNS.fetch(orientation)
              image = program.apply("Transpose", image, perm: [1, 0, 2]) if swapped
              reversed.inject(image) { |turned, axis| slice(program, turned, axis, BACKWARDS) }
            end
          end

          # @param raster [Raster] grey, grey and alpha, RGB or RGBA
          # @return [Raster] RGB on white
          def rgb(raster)
            return raster if raster.channels == 3

            convert(raster, [:rgb, raster.channels]) do |program, image|
              image = on_white(program, image, raster.channels - 1) if raster.channels.even?
              raster.channels < 3 ? program.apply("Tile", image, *program.int64([1, 1, 3])) : image
            end
          end

          # @param raster [Raster] CMYK as Adobe stores it: 255 is no ink
          # @return [Raster] RGB
          def of_inks(raster)
            convert(raster, [:of_inks]) do |program, image|
              inks = program.apply("Cast", image, to: Session::TYPES.fetch(:int32).first)
              black = slice(program, inks, 2, [3, 4])
              ink = program.apply("Sub", program.constant(:int32, [255]), slice(program, inks, 2, [0, 3]))
              light = program.apply("Sub", black, divided(program, program.apply("Mul", ink, black)))
              bytes(program, program.apply("Max", light, program.constant(:int32, [0])))
            end
          end

          # @param raster [Raster] one channel of indices
          # @param colors [String] of 256 entries
          # @param channels [Integer] of the colours
          # @return [Raster]
          def of_palette(raster, colors, channels)
            once(raster) do |program, image|
              index = program.apply("Cast", image, to: Session::TYPES.fetch(:int32).first)
              index = program.apply("Squeeze", index, *program.int64([2]))
              program.apply("Gather", program.constant(:uint8, colors.bytes, [256, channels]), index)
            end
          end

          # @param raster [Raster] BGR, or with a fourth channel
          # @param has_alpha [Boolean] whether the fourth channel is used
          # @return [Raster] RGB or RGBA
          def of_bgr(raster, has_alpha)
            convert(raster, [:of_bgr, has_alpha]) do |program, image|
              program.apply("Gather", image, program.constant(:int64, has_alpha ? [2, 1, 0, 3] : [2, 1, 0]), axis: 2)
            end
          end

          # @param raster [Raster] of 16 bits, big-endian: two channels for each
          # @return [Raster] the more significant bytes
          def high_bytes(raster)
            convert(raster, [:high_bytes]) { |program, image| slice(program, image, 2, EVEN) }
          end

          # @param raster [Raster] grey of 16 bits, big-endian
          # @return [Raster] grey, scaled to 8 bits
          def of_deep_grey(raster)
            convert(raster, [:of_deep_grey]) do |program, image|
              wide = program.apply("Cast", image, to: Session::TYPES.fetch(:int32).first)
              parts = program.apply("Mul", wide, program.constant(:int32, [256, 1]))
              sum = program.apply("ReduceSum", parts, *program.int64([2]))
              rounded = program.apply("Add", sum, program.constant(:int32, [128]))
              bytes(program, program.apply("Div", rounded, program.constant(:int32, [257])))
            end
          end

          # @param raster [Raster] grey or RGB
          # @param color [Array<Integer>] the samples of transparent pixels
          # @return [Raster] with them white
          def without_color(raster, color)
            once(raster) do |program, image|
              same = program.apply("Equal", image, program.constant(:uint8, color))
              same = program.apply("Cast", same, to: Session::TYPES.fetch(:uint8).first)
              all = program.apply("ReduceMin", same, *program.int64([2]))
              all = program.apply("Cast", all, to: Session::TYPES.fetch(:bool).first)
              program.apply("Where", all, program.constant(:uint8, [255]), image)
            end
          end

          private

          # Programs are few, and kept.
          def convert(raster, key, &)
            program = @mutex.synchronize { @programs[key] } || Program.new(3, &)
            @mutex.synchronize { @programs[key] ||= program }
            raster_of(program.call(raster.bytes, raster.shape))
          end

          def once(raster, &) = raster_of(Program.new(3, &).call(raster.bytes, raster.shape))

          def raster_of(value)
            height, width, channels = value.shape
            Raster.new(width:, height:, channels:, bytes: value.data)
          end

          def slice(program, image, axis, (from, till, step))
            program.apply("Slice", image, *program.int64([from], [till], [axis], [step || 1]))
          end

          # 255 (255 - alpha) + value alpha, over 255.
          def on_white(program, image, colors)
            wide = program.apply("Cast", image, to: Session::TYPES.fetch(:int32).first)
            alpha = slice(program, wide, 2, [colors, colors + 1])
            white = program.apply("Mul", program.apply("Sub", program.constant(:int32, [255]), alpha),
                                  program.constant(:int32, [255]))
            color = program.apply("Mul", slice(program, wide, 2, [0, colors]), alpha)
            bytes(program, divided(program, program.apply("Add", white, color)))
          end

          # Rounded division by 255.
          def divided(program, value)
            rounded = program.apply("Add", value, program.constant(:int32, [128]))
            part = program.apply("Div", rounded, program.constant(:int32, [256]))
            program.apply("Div", program.apply("Add", part, rounded), program.constant(:int32, [256]))
          end

          def bytes(program, value) = program.apply("Cast", value, to: Session::TYPES.fetch(:uint8).first)
        end
      end
    end
  end
end
