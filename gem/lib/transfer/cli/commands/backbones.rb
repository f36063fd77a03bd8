# frozen_string_literal: true

require_relative "../catalogue"

module Transfer
  module CLI
    class Root
      desc "backbones [NAME]", "List pretrained backbones, or describe one"
      long_desc <<~TEXT
        The most relevant come first: trained for a similar task, and accurate for their
        size. With NAME it prints blocks, weights, licences, paper and code of one.

          transfer backbones --max-parameters 10M
          transfer backbones --task text_classification --license Apache-2.0
          transfer backbones --source timm --sort metric --all
          transfer backbones timm/tf_efficientnet_lite0
          transfer backbones torchhub:./my_networks:tiny --trust
      TEXT
      option :task, banner: "NAME", desc: "For image_classification, text_regression ..."
      option :max_parameters, banner: "N", desc: "With at most N parameters, such as 10M"
      option :license, banner: "NAME", desc: "With weights under this licence"
      option :source, banner: "NAME", desc: "torchvision, nanodet, ssdlite, timm, huggingface, keras"
      option :offline, type: :boolean, desc: "With weights on this machine"
      option :sort, banner: "ORDER", enum: Catalogue::ORDERS.keys, default: "relevance",
                    desc: "By relevance, name, parameters or metric"
      option :all, type: :boolean, desc: "All of them, not only the first #{Catalogue::FIRST}"
      shared_options :trust, :json
      def backbones(name = nil)
        return describe_backbone(name) if name

        found = Transfer.backbones(**backbone_filter, offline: options.fetch(:offline, false))
        found = Catalogue.sort(found, options[:sort])
        output(found.map(&:to_h)) { Catalogue.table(found, options[:all] ? found.size : Catalogue::FIRST) }
      end

      private

      def describe_backbone(name)
        backbone = Transfer.backbone(name, trust: options.fetch(:trust, false))
        listed = Transfer.backbones.find { |entry| [entry.name, entry[:backbone]].include?(backbone.name) }
        output({ **backbone.to_h, listed: listed&.to_h }.compact) { Catalogue.page(backbone, listed) }
      end

      def backbone_filter
        { task: options[:task], license: options[:license], source: options[:source],
          max_parameters: options[:max_parameters] && count(options[:max_parameters]) }.compact
      end

      # `10M` is 10 000 000.
      def count(text)
        number, unit = text.match(/\A(\d+(?:\.\d+)?)([kMG]?)\z/)&.captures
        raise Thor::Error, "--max-parameters takes a number such as 10M, got #{text}" unless number

        number.to_f * { "" => 1, "k" => 1e3, "M" => 1e6, "G" => 1e9 }.fetch(unit)
      end
    end
  end
end
