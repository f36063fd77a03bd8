# frozen_string_literal: true

module Transfer
  module Bridge
    # Schemas ({Schema}) of the results of methods about the machine: backbones, runs, cache, installation, serving.
    module MachineSchemas
      run = { "id" => :text, "path" => :text, "status" => :status, "saved" => :flag, "bytes" => :count,
              "used_at" => :finite, "created_at" => { maybe: :time }, "recipe" => { maybe: { each: :plain } },
              **%w[report? backbone data step].to_h { |name| [name, { maybe: :text }] },
              "epoch" => { maybe: :count }, "epochs" => { maybe: :count } }
      facts = { "name" => :text, "parameters" => :count, "source" => :text, "family" => :text, "modality" => :modality,
                "paper" => :text, "arxiv" => :text, "code_url" => :text }
      listed = { **facts, "embedding_width" => { maybe: :count }, "license" => :text, "metric" => :text,
                          "metric_value" => { maybe: :finite }, "relevance" => { maybe: :finite },
                          "images_per_second" => { maybe: :finite } }
      weights = { "name" => :text, "license?" => :text, "top1?" => { maybe: :finite }, "hub?" => :text,
                  "file?" => :text, "trained_on?" => :text, "terms?" => :text,
                  "preprocessing?" => { maybe: { "crop_size" => :count } } }
      percentiles = { "p50" => :finite, "p90" => :finite, "p99" => :finite, "max" => :finite }
      freed = { "freed" => :count, "left" => :count }
      RESULTS = {
        "hello" => { "protocol" => :count, "core_version?" => :text, "capabilities?" => [:text] },
        "runs" => [run], "remove_run" => run, "prune_runs" => [run], "backbones" => [listed],
        "backbone" => { **facts, "embedding_width" => :count, "blocks" => [:text], "weights" => [weights],
                                 "default" => :text, "code_license" => :text, "max_length?" => { maybe: :count } },
        "doctor" => [{ "name" => :text, "ok" => :flag, "detail" => :text, "remedy" => { maybe: :text } }],
        "cache_stats" => { "path" => :text, "limit" => :count, "bytes" => :count, "runs" => :count,
                           "parts" => [{ "name" => :text, "what" => :text, "files" => :count, "bytes" => :count,
                                         "rows" => { maybe: :count }, "used_at" => :finite }] },
        "cache_verify" => { "rows" => :count, "damaged" => :count, "files" => [:text] },
        "cache_prune" => freed, "cache_clear" => freed, "ping" => :text,
        "serving" => { "open" => :count, "refused" => :count, "seconds" => { maybe: percentiles },
                       "batches" => { "count" => :count, "mean" => { maybe: :finite }, "last" => { maybe: :count },
                                      "sizes" => { each: :count } },
                       "models" => { "count" => :count, "bytes" => :count, "limit" => :count } }
      }.freeze
    end
  end
end
