/*
 * The widget: a block in the card, a short settings window and a settings page. Each of them is a frame with a page of the
 * server below. One click makes one request with the one-time token; whatever refreshes does so inside the frame.
 */
define(['jquery'], function ($) {
  'use strict';

  var SERVER = '@SERVER@';
  var ROOT = 'mostik-widget';
  var CARDS = { lcard: 'lead', ccard: 'contact', comcard: 'company' };
  var TALLEST = 660;
  var PATIENCE_MS = 20000;

  return function () {
    var self = this;
    var frames = [];

    // -- words and places -------------------------------------------------------------------------------------------

    function word(name) {
      return self.i18n('panel')[name];
    }

    function currentCard() {
      var kind = CARDS[self.system().area];
      var card = APP.data.current_card;
      return kind && card ? { kind: kind, id: String(card.id || '') } : null;
    }

    function addStyle() {
      var base = self.params.cdn_path || self.params.path;
      var address = base + '/style.css?v=' + self.get_version();
      if (!$('link[href="' + address + '"]').length) {
        $('head').append($('<link rel="stylesheet" type="text/css">').attr('href', address));
      }
    }

    function element(name, kind, text) {
      var $made = $('<' + kind + '>').addClass(ROOT + '__' + name);
      return text ? $made.text(text) : $made;
    }

    // -- one click, one request -------------------------------------------------------------------------------------

    function ask($root, wanted) {
      if ($root.data('asking')) {
        return;
      }
      $root.data('asking', true).addClass(ROOT + '_busy');
      say($root, '');
      self.$authorizedAjax({
        url: SERVER + '/embedded/amocrm/open',
        method: 'POST',
        contentType: 'application/json',
        data: JSON.stringify($.extend({ lang: APP.lang_id }, wanted)),
        dataType: 'json',
        timeout: PATIENCE_MS
      })
        .done(function (answer) {
          if (String(answer.url).indexOf(SERVER + '/') === 0) {
            showFrame($root, answer.url);
          } else {
            say($root, word('failed'));
          }
        })
        .fail(function (refused) {
          var said = refused.responseJSON;
          say($root, (said && said.detail) || word('failed'));
        })
        .always(function () {
          $root.data('asking', false).removeClass(ROOT + '_busy');
        });
    }

    function say($root, text) {
      $root.find('.' + ROOT + '__trouble').text(text).toggle(Boolean(text));
    }

    // -- the frame --------------------------------------------------------------------------------------------------

    function showFrame($root, address) {
      var $frame = element('frame', 'iframe').attr({ src: address, title: word('title'), allow: 'clipboard-write' });
      closeFrame($root);
      $root.find('.' + ROOT + '__place').empty().append($frame);
      $root.addClass(ROOT + '_open');
      frames.push({ $root: $root, $frame: $frame });
    }

    function closeFrame($root) {
      frames = frames.filter(function (one) {
        return one.$root[0] !== $root[0];
      });
      $root.removeClass(ROOT + '_open ' + ROOT + '_wide').find('.' + ROOT + '__place').empty();
    }

    function hear(event) {
      var said = event.originalEvent;
      var heard = said.origin === SERVER && said.data && said.data.from === 'mostik' ? said.data : null;
      frames.forEach(function (one) {
        if (!heard || said.source !== one.$frame[0].contentWindow) {
          return;
        }
        if (heard.type === 'height' && heard.height > 0) {
          one.$frame.css('height', (one.$root.data('tall') ? heard.height : Math.min(heard.height, TALLEST)) + 'px');
        } else if (heard.type === 'wide') {
          one.$root.toggleClass(ROOT + '_wide', Boolean(heard.on));
        } else if (heard.type === 'close') {
          closeFrame(one.$root);
        }
      });
    }

    // -- blocks -----------------------------------------------------------------------------------------------------

    function fill($root) {
      return $root
        .addClass(ROOT)
        .append(element('trouble', 'p').attr('role', 'alert').hide())
        .append(element('place', 'div'));
    }

    function button(name, text) {
      return element('button', 'button', text).attr('type', 'button').addClass(ROOT + '__button_' + name);
    }

    function cardBlock() {
      var $root = $('.' + ROOT + '_card').last();
      var $doors = element('doors', 'div').append(button('start', word('start')), button('talks', word('talks')));
      fill($root).prepend($doors);
    }

    function openCard(view) {
      var card = currentCard();
      var $root = $('.' + ROOT + '_card').last();
      if (!card || !card.id) {
        say($root, word('save_first'));
        return;
      }
      ask($root, { place: 'card', view: view, card: card });
    }

    function settingsBlock($where, place) {
      var $root = $('<div>');
      $where.append($root);
      fill($root).data('tall', true);
      if (self.get_install_status() === 'install') {
        $root.prepend(element('note', 'p', word('install_first')));
        return;
      }
      ask($root, { place: place });
    }

    // -- what the CRM calls -----------------------------------------------------------------------------------------

    this.callbacks = {
      render: function () {
        if (!CARDS[self.system().area]) {
          return true;
        }
        addStyle();
        self.render_template({
          caption: { class_name: ROOT + '__caption', html: '' },
          body: '',
          render: '<div class="' + ROOT + '_card"></div>'
        });
        cardBlock();
        return true;
      },

      init: function () {
        $(window).on('message.' + ROOT, hear);
        return true;
      },

      bind_actions: function () {
        $('.' + ROOT + '_card')
          .off('.' + ROOT)
          .on('click.' + ROOT, '.' + ROOT + '__button_start', function () {
            openCard('start');
          })
          .on('click.' + ROOT, '.' + ROOT + '__button_talks', function () {
            openCard('talks');
          });
        return true;
      },

      settings: function ($modal) {
        addStyle();
        settingsBlock($modal.find('[id$="_custom_content"]').first(), 'settings');
        $(window).off('message.' + ROOT).on('message.' + ROOT, hear);
      },

      advancedSettings: function () {
        addStyle();
        settingsBlock($('#list_page_holder'), 'advanced');
        $(window).off('message.' + ROOT).on('message.' + ROOT, hear);
      },

      onSave: function () {
        return true;
      },

      destroy: function () {
        $(window).off('.' + ROOT);
        $('.' + ROOT + '_card').off('.' + ROOT);
        frames = [];
      }
    };

    return this;
  };
});
