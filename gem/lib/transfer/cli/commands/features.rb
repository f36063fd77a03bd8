# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "features MODEL IMAGE", "Show the most active channels of a layer"
      long_desc <<~TEXT
        Computes the outputs of a block of the network for one image, and prints the
        channels with the highest activations, the most active first, with tabs: index,
        mean and maximum magnitude. --output writes their maps (.png, .html or .json).

          transfer features signs.transfer a.jpg
          transfer features signs.transfer a.jpg --block features_3 --output maps.png
      TEXT
      option :output, banner: "FILE", desc: "Write this .png, .html or .json file"
      option :block, banner: "NAME", desc: "Block, as in unfreeze (the last with maps)"
      option :most, type: :numeric, banner: "N", default: 16, desc: "Channels (16)"
      shared_options :pictures, :force, :trust, :signed_by, :json
      def features(model, image)
        file = output_file(:output, "maps.png") if options[:output]
        features = open_model(model).features(image, block: options[:block], most: options[:most])
        features.save(file) if file
        output(features.to_h) { channel_lines(features) }
        show_picture(features.overlay)
      end

      private

      def channel_lines(features)
        features.channels.zip(features.maps.to_a).map do |channel, map|
          sizes = map.flatten.map(&:abs)
          format("%<channel>d\t%<mean>.4f\t%<most>.4f", channel:, mean: sizes.sum / sizes.size, most: sizes.max)
        end
      end
    end
  end
end
