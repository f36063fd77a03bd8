# frozen_string_literal: true

require_relative "catalogue"

module Transfer
  # What can be looked up: networks and model files.
  class CLI
    desc "backbones [NAME]", "The pretrained networks there are"
    long_desc <<~TEXT, wrap: false
      Lists them, the most relevant first: what was trained for a similar task, then
      how far its accuracy is above what is usual for its size. With a name, all that
      is known of one: blocks, weights, licences, paper, code.

        transfer backbones --max-parameters 10M
        transfer backbones --task text_classification --license Apache-2.0
        transfer backbones --source timm --sort metric --all
        transfer backbones --offline              whose weights are on this machine
        transfer backbones timm/tf_efficientnet_lite0
        transfer backbones torchhub:./my_networks:tiny --trust
    TEXT
    option :task, banner: "NAME", desc: "For image_classification, image_regression, text_…"
    option :max_parameters, banner: "N", desc: "At most so many parameters, such as 10M"
    option :license, banner: "NAME", desc: "Only weights under this licence"
    option :source, banner: "NAME", desc: "Only of torchvision, timm, huggingface or keras"
    option :offline, type: :boolean, desc: "Only those whose weights are on this machine"
    option :sort, banner: "ORDER", enum: Catalogue::ORDERS.keys, default: "relevance",
                  desc: "By relevance, name, parameters or metric"
    option :all, type: :boolean, desc: "All of them, not only the first"
    option :trust, type: :boolean, desc: "Allow code to run that comes with the named one"
    json_option
    # Lists backbones, or describes one.
    def backbones(name = nil)
      return describe_backbone(name) if name

      found = Transfer.backbones(**asked_for, offline: options.fetch(:offline, false))
      found = Catalogue.sort(found, options[:sort])
      answer(found.map(&:to_h)) { puts Catalogue.table(found, options[:all] ? found.size : Catalogue::FIRST) }
    end

    desc "info MODEL", "What is in a model file"
    long_desc <<~TEXT, wrap: false
      Shows what the model was made from, what it knows and how good it was.

        transfer info signs.transfer
        transfer info signs.transfer --json       with recipe, history and versions
    TEXT
    signed_by_option
    json_option
    # Describes a model file.
    def info(file)
      model = open_model(file)
      answer(model.summary) do
        puts Table.render(Report.facts(file, model.summary))
        puts "", Report.held_out(model.summary), Report.warnings(model.summary)
      end
    end

    private

    def describe_backbone(name)
      backbone = Transfer.backbone(name, trust: options.fetch(:trust, false))
      listed = Transfer.backbones.find { |entry| [entry.name, entry[:backbone]].include?(backbone.name) }
      answer({ **backbone.to_h, listed: listed&.to_h }.compact) { puts Catalogue.page(backbone, listed) }
    end

    def asked_for
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
