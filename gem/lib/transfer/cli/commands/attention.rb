# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "attention MODEL INPUT", "Show the attention of a transformer"
      long_desc <<~TEXT
        Computes the attention weights of a transformer for one image or text. Prints
        the attention that the first token pays to each token of a text through all
        layers (rollout), with tabs: share and token. --output writes the heatmap of an
        image and its heads, or the matrix of a text (.png, .html), or the weights of
        all heads (.json); of an image it is required, unless --json is given or
        the terminal shows pictures.

          transfer attention mood.transfer "What a day!"
          transfer attention signs.transfer photo.jpg --output attention.png
      TEXT
      option :output, banner: "FILE", desc: "Write this .png, .html or .json file"
      shared_options :pictures, :force, :trust, :signed_by, :json
      def attention(model, input)
        file = output_file(:output, "attention.png") if options[:output]
        loaded = open_model(model)
        check_picture_wanted(loaded, file)
        attention = loaded.attention(one_value(loaded, input))
        attention.save(file) if file
        output(attention.to_h) { attention_lines(attention, file) }
        show_picture(attention.overlay)
      end

      private

      def attention_lines(attention, file)
        unless attention.tokens
          return ["Attention of #{attention.heads.shape.first(2).join(' layers, ')} heads", file].compact.join(": ")
        end

        attention.tokens.zip(attention.rolled_out.to_a.first).map do |token, share|
          "#{format('%.4f', share)}\t#{token.strip.tr("\t\n", ' ')}"
        end
      end
    end
  end
end
